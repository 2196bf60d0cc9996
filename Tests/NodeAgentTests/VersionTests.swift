// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import FoundationEssentials
import NodeEngine
import Releases
import Testing
import UpgradeModel

@testable import NodeAgent

/// Releases that are no bundles: the node's own actions fetch, switch and report a version. Here a directory by version and a link.
@Suite(.timeLimit(.minutes(5))) struct VersionTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private static let actions = """
        release: {fetch: fetch, switch: switch, report: report, remove: remove}
        actions:
          fetch:
            command: [/bin/sh, -c, 'test ! -e ROOT/no-fetch && mkdir -p "ROOT/versions/$0" && echo "fetch $0" >> ROOT/marks', "{version}"]
            repeatable: true
          switch:
            command: [/bin/sh, -c, 'test -e ROOT/stuck || ln -sfn "$SLUICE_VERSION" ROOT/versions/served; echo "switch $SLUICE_VERSION $SLUICE_GENERATION" >> ROOT/marks']
            repeatable: true
          report: {command: [/usr/bin/readlink, ROOT/versions/served]}
          remove:
            command: [/bin/sh, -c, 'rmdir "ROOT/versions/$SLUICE_VERSION"; echo "remove $SLUICE_VERSION" >> ROOT/marks']
            repeatable: true
        """

    /// A node that serves 1.0 and has been adopted.
    private func node(
        _ actions: String = Self.actions
    ) async throws -> (node: TestNode, v1: ReleaseReference) {
        let node = try TestNode(coordinator, extra: actions)
        try FileManager.default.createDirectory(
            atPath: "\(node.root)/versions/1.0", withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: "\(node.root)/versions/served", withDestinationPath: "1.0")
        let bundle = try Bundle.naming(version: "1.0", name: ReleaseName(unchecked: "v1"))
        let store = try ReleaseStore(node.configuration.releases)
        try await store.stage(
            manifest: bundle.manifest.encoded, as: bundle.manifest.reference,
            from: Contents(contents: bundle.contents))
        _ = try await store.activate(
            bundle.manifest.reference, generation: try await store.nextGeneration())
        return (node, bundle.manifest.reference)
    }

    private func publish(_ version: String, _ name: String) throws -> ReleaseReference {
        let bundle = try Bundle.naming(version: version, name: ReleaseName(unchecked: name))
        coordinator.hold(bundle.manifest.encoded)
        for bytes in bundle.contents.values { coordinator.hold(bytes) }
        return bundle.manifest.reference
    }

    private func goal(_ release: ReleaseReference, _ word: String) -> ActivationGoal {
        ActivationGoal(release: release, identity: ActivationIdentity(unchecked: "r1.\(word)"))
    }

    @Test func aVersionIsFetchedSwitchedToReportedAndSwitchedBack() async throws {
        let (node, v1) = try await node()
        let v2 = try publish("2.0", "v2")
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            let staged = try await coordinator.status { $0.staged.contains(v2) }
            #expect(staged.active?.release == v1)
            #expect(staged.has(.switchesVersions))
            #expect(node.lines() == ["fetch 2.0"])
            coordinator.say(
                directive(2) {
                    $0.stage = v2
                    $0.active = goal(v2, "forward")
                })
            let flipped = try await coordinator.status { $0.active?.release == v2 }
            #expect(flipped.active?.identity?.rawValue == "r1.forward")
            #expect(node.lines().last == "switch 2.0 2")
            coordinator.say(directive(3) { $0.active = goal(v1, "back") })
            _ = try await coordinator.status { $0.active?.identity?.rawValue == "r1.back" }
            #expect(node.lines().last == "switch 1.0 3")
            coordinator.say(
                directive(4) {
                    $0.active = goal(v1, "back")
                    $0.unstage = v2
                })
            _ = try await coordinator.status { $0.revision == 4 && $0.staged == [v1] }
            #expect(node.lines().last == "remove 2.0")
        }
    }

    @Test func aSwitchAfterWhichTheNodeReportsSomethingElseHasFailed() async throws {
        let (node, v1) = try await node()
        let v2 = try publish("2.0", "v2")
        try write("", to: "\(node.root)/stuck", mode: 0o600)
        try await node.withAgent {
            coordinator.say(
                directive(1) {
                    $0.stage = v2
                    $0.active = goal(v2, "forward")
                })
            let failed = try await coordinator.status { !$0.failures.isEmpty }
            #expect(failed.failures.first?.goal == .activate)
            #expect(failed.failures.first?.message.contains("reports 1.0, not 2.0") == true)
            #expect(failed.active?.release == v1)
        }
    }

    // MARK: Beside a frozen standby

    /// The application runs once: the node's own action leads it to the other server, and says which one answers.
    private static let databaseActions = """
        release: {fetch: fetch, switch: switch, report: report, remove: remove, standby: true}
        actions:
          fetch:
            command: [/bin/sh, -c, 'mkdir -p "ROOT/versions/$0"; d=$SLUICE_DATABASE; echo "fetch $0 $d" >> ROOT/marks', "{version}"]
            repeatable: true
          switch:
            command: [/bin/sh, -c, 'd=primary; test -z "$SLUICE_DATABASE" || d=$SLUICE_DATABASE; test -e ROOT/stuck || echo "$SLUICE_VERSION $d" > ROOT/served; echo "switch $SLUICE_VERSION $d $SLUICE_GENERATION $SLUICE_RELEASE_DIR" >> ROOT/marks']
            repeatable: true
          report: {command: [/bin/cat, ROOT/served]}
          remove:
            command: [/bin/sh, -c, 'echo "remove $SLUICE_VERSION" >> ROOT/marks']
            repeatable: true
        """

    private func node(serving served: String) async throws -> (TestNode, ReleaseReference) {
        let (node, v1) = try await node(Self.databaseActions)
        try write("\(served)\n", to: "\(node.root)/served", mode: 0o600)
        return (node, v1)
    }

    @Test func aVersionIsSwitchedToTheStandbyAndFromThereToTheNext() async throws {
        let (node, v1) = try await node(serving: "1.0 primary")
        let reader = v1.on(.standby)
        let v2 = try publish("2.0", "v2")
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            _ = try await coordinator.status {
                $0.staged.contains(v2) && $0.has(.switchesDatabases)
            }
            coordinator.say(directive(2) { $0.stage = reader })
            let ready = try await coordinator.status { $0.staged.contains(reader) }
            #expect(ready.active?.release == v1)
            #expect(node.lines().last == "fetch 1.0 standby")
            coordinator.say(
                directive(3) {
                    $0.stage = v2
                    $0.active = goal(reader, "standby")
                    $0.vacated = v1
                })
            let there = try await coordinator.status { $0.vacated?.isVacant == true }
            #expect(there.active?.release == reader)
            #expect(there.active?.cacheGeneration == CacheGeneration(rawValue: 1))
            // One directory, by which its processes are known whichever database they read.
            let files = "\(node.root)/app/releases/\(v1.identifier)/files"
            #expect(node.lines().last == "switch 1.0 standby 1 \(files)")
            coordinator.say(directive(4) { $0.active = goal(v2, "forward") })
            _ = try await coordinator.status { $0.active?.release == v2 }
            #expect(node.lines().last?.hasPrefix("switch 2.0 primary 2 ") == true)
            coordinator.say(
                directive(5) {
                    $0.active = goal(v2, "forward")
                    $0.unstage = reader
                })
            _ = try await coordinator.status {
                $0.revision == 5 && !$0.staged.contains(reader)
            }
            #expect(!node.lines().contains("remove 1.0"), "it is there on its usual database")
        }
    }

    @Test func aSwitchThatDoesNotLeadToTheStandbyHasFailed() async throws {
        let (node, v1) = try await node(serving: "1.0 primary")
        try write("", to: "\(node.root)/stuck", mode: 0o600)
        try await node.withAgent {
            coordinator.say(
                directive(1) {
                    $0.stage = v1.on(.standby)
                    $0.active = goal(v1.on(.standby), "standby")
                })
            let failed = try await coordinator.status { !$0.failures.isEmpty }
            #expect(failed.failures.first?.goal == .activate)
            #expect(
                failed.failures.first?.message.contains("reports 1.0 primary, not 1.0 standby")
                    == true)
        }
    }

    /// Found at once, and not in the first window.
    @Test func aReportThatDoesNotSayWhichServerAnswersIsNoRelease() async throws {
        let (node, _) = try await node(serving: "1.0")
        try await node.withAgent {
            let status = try await coordinator.status { _ in true }
            #expect(status.active == nil)
        }
    }

    @Test func aNodeWhoseActionsKnowNoStandbyRefusesItAndSaysWhatIsMissing() async throws {
        let (node, v1) = try await node()
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v1.on(.standby) })
            let failed = try await coordinator.status { !$0.failures.isEmpty }
            #expect(failed.failures.first?.message.contains("says `standby: true`") == true)
            #expect(!failed.has(.switchesDatabases))
        }
    }

    @Test func aVersionThatCannotBeFetchedIsNotStaged() async throws {
        let (node, _) = try await node()
        let v2 = try publish("2.0", "v2")
        try write("", to: "\(node.root)/no-fetch", mode: 0o600)
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            let failed = try await coordinator.status { !$0.failures.isEmpty }
            #expect(failed.failures.first?.message.contains("`release.fetch`") == true)
            #expect(!failed.staged.contains(v2))
            // Under the next directive it is tried again.
            try FileManager.default.removeItem(atPath: "\(node.root)/no-fetch")
            coordinator.say(directive(2) { $0.stage = v2 })
            _ = try await coordinator.status { $0.staged.contains(v2) }
        }
    }

    @Test func aNodeThatReportsAnotherVersionServesNoReleaseOfOurs() async throws {
        let (node, v1) = try await node()
        try FileManager.default.removeItem(atPath: "\(node.root)/versions/served")
        try FileManager.default.createSymbolicLink(
            atPath: "\(node.root)/versions/served", withDestinationPath: "0.9")
        try await node.withAgent {
            let status = try await coordinator.status { _ in true }
            #expect(status.active == nil)
            #expect(status.staged == [v1])
        }
    }

    @Test func aNodeWithoutTheActionsRefusesAVersionAndSaysWhatIsMissing() async throws {
        let node = try TestNode(coordinator)
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try publish("2.0", "v2")
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            let failed = try await coordinator.status { !$0.failures.isEmpty }
            #expect(failed.failures.first?.message.contains("has no `release.switch`") == true)
            #expect(!failed.has(.switchesVersions) && failed.has(.asksOwnSocket))
        }
    }

    /// `pip install --no-index`, `assets:precompile`: in a directory that nobody else sees yet.
    @Test(arguments: [true, false]) func aBundleIsFinishedOnTheNodeBeforeItIsSealed(works: Bool)
        async throws
    {
        let node = try TestNode(
            coordinator,
            extra: """
                release: {build: build}
                actions:
                  build:
                    command: [/bin/sh, -c, 'cat "$SLUICE_RELEASE_DIR/a" > "$SLUICE_RELEASE_DIR/built"; ls ROOT/app/releases > ROOT/marks; exit \(works ? 0 : 7)']
                    repeatable: true
                """)
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "source"])
        let place = "\(node.root)/app/releases/\(v2.identifier)"
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            if works {
                _ = try await coordinator.status { $0.staged.contains(v2) }
                #expect(
                    try String(contentsOfFile: "\(place)/files/built", encoding: .utf8) == "source")
            } else {
                let failed = try await coordinator.status { !$0.failures.isEmpty }
                #expect(failed.failures.first?.message.contains("exit status 7") == true)
                #expect(!FileManager.default.fileExists(atPath: place))
            }
            #expect(node.lines().count == 1, "only v1 was there")
        }
    }

    /// A cache that begins anew with each release takes this as its prefix.
    @Test func anActionHearsTheGenerationOfItsRelease() async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  start: {command: [/bin/sh, -c, 'echo "$SLUICE_GENERATION $0" >> ROOT/marks', "{generation}"], awaits_socket: false}
                """)
        let v1 = try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2"])
        try await node.withAgent {
            coordinator.say(
                directive(1) {
                    $0.stage = v2
                    $0.tasks = [task("1", "start", release: v1), task("2", "start", release: v2)]
                    $0.active = goal(v2, "forward")
                })
            let flipped = try await coordinator.status { $0.active?.release == v2 }
            #expect(node.lines() == ["1 1", "2 2"])
            #expect(flipped.active?.cacheGeneration == CacheGeneration(rawValue: 2))
        }
    }
}

private struct Contents: BlobSource {
    var contents: [Digest: [UInt8]]

    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws {
        _ = (contents[digest] ?? []).dropFirst(Int(offset)).withUnsafeBytes { sink.write($0) }
    }
}
