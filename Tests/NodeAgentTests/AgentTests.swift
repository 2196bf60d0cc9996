// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import NodeEngine
import ContentDigest
import CurlClient
import FoundationEssentials
import HostWork
import Glibc
import NodeEngine
import Releases
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// A real agent with a real gate, real releases and real commands against a coordinator that says what the test wants.
@Suite(.timeLimit(.minutes(5))) struct AgentTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    @Test func anAgentSaysWhatItIsAndWithWhichToken() async throws {
        let node = try TestNode(coordinator)
        let v1 = try await node.adopt("v1", files: ["a": "1"])
        try await node.withAgent {
            let status = try await coordinator.status { _ in true }
            #expect(status.active?.release == v1)
            #expect(status.active?.cacheGeneration == CacheGeneration(rawValue: 1))
            #expect(status.active?.identity == nil)
            #expect(status.staged == [v1])
            #expect(status.gate.writes == .open)
            #expect(status.epoch == .zero)
            #expect(status.diskFree > 0)
        }
        #expect(coordinator.tokens == ["Bearer secret-token"])
    }

    @Test func anUpgradeGoesThroughEveryPart() async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  warm:
                    command: [/bin/sh, -c, 'echo "$SLUICE_RELEASE $SLUICE_RUN" >> ROOT/marks']
                health:
                  page: {socket: "{socket}"}
                caches:
                  pages: {generation: true}
                """)
        try await node.adopt("v1", files: ["a": "1", "same": "same"])
        let v2 = try node.publish("v2", files: ["a": "2", "same": "same", "deep/er/b": "b"])
        let app = try HTTPServer(unixSocket: "\(node.root)/sockets/\(v2.identifier).sock") { _ in
            .init(status: 200, headers: [("X-Release", "v2")])
        }
        defer { app.stop() }
        let base = directive(1) {
            $0.run = RunIdentifier(unchecked: "run-7")
            $0.stage = v2
            $0.tasks = [task("warm.1", "warm", release: v2)]
        }
        try await node.withAgent {
            coordinator.say(base)
            let staged = try await coordinator.status { $0.tasks.first?.state == .done }
            #expect(staged.staged.contains(v2) && staged.active?.release.name.rawValue == "v1")
            #expect(node.lines() == ["v2 run-7"])

            var closing = base
            closing.revision = 2
            closing.writes = holding
            closing.reads = ReadAdmission(
                hold: HoldLimits(atMost: 5, duration: .seconds(5), retryAfter: .seconds(1)),
                until: ActivationIdentity(unchecked: "run-7.forward"))
            coordinator.say(closing)
            _ = try await coordinator.status { $0.gate.writes == .hold && $0.gate.readsSettled }
            #expect(node.has("read-only") && node.has("hold-reads"))

            var flipping = closing
            flipping.revision = 3
            flipping.active = ActivationGoal(
                release: v2, identity: ActivationIdentity(unchecked: "run-7.forward"))
            flipping.tasks = [task("flush.1", "pages", .flush)]
            flipping.health = HealthGoal(
                identity: identity("h"), check: HealthCheckName(unchecked: "page"),
                release: v2.name,
                consecutive: 3)
            coordinator.say(flipping)
            let flipped = try await coordinator.status { $0.health?.state == .healthy }
            #expect(flipped.active?.release == v2)
            #expect(flipped.active?.identity?.rawValue == "run-7.forward")
            #expect(flipped.active?.cacheGeneration == CacheGeneration(rawValue: 2))
            #expect(flipped.gate.writes == .hold && !flipped.gate.readsHeld)
            #expect(flipped.tasks.map(\.state) == [.done])
            #expect(!node.has("hold-reads") && node.has("read-only"))
            let link = try FileManager.default.destinationOfSymbolicLink(
                atPath: "\(node.root)/app/current")
            #expect(link == "activations/2-\(v2.identifier)")

            var open = flipping
            open.revision = 4
            open.writes = .open
            open.reads = .pass
            coordinator.say(open)
            _ = try await coordinator.status { $0.revision == 4 && $0.gate.writes == .open }
            #expect(!node.has("read-only"))
        }
    }

    /// No proxy, no page, no socket: the gate is closed at once and has nothing in flight, and an action says how the release does.
    @Test func aNodeThatHasOnlyWorkersGoesThroughEveryPart() async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  is-alive:
                    command: [/bin/sh, -c, 'echo "$SLUICE_RELEASE"; test "$SLUICE_RELEASE" = v2 -a -e ROOT/alive']
                health:
                  page: {action: is-alive}
                """)
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2"])
        let base = directive(1) {
            $0.run = RunIdentifier(unchecked: "run-7")
            $0.stage = v2
            $0.writes = holding
            $0.lease = Lease(duration: .seconds(30), onExpiry: .keep)
        }
        try await node.withAgent {
            coordinator.say(base)
            _ = try await coordinator.status {
                $0.gate.writes == .hold && $0.gate.writesInFlight == 0 && $0.lease == .keep
            }
            var flipping = base
            flipping.revision = 2
            flipping.active = ActivationGoal(
                release: v2, identity: ActivationIdentity(unchecked: "run-7.forward"))
            flipping.health = HealthGoal(
                identity: identity("h"), check: HealthCheckName(unchecked: "page"),
                release: v2.name, consecutive: 2)
            coordinator.say(flipping)
            let ill = try await coordinator.status {
                $0.active?.release == v2 && $0.health?.detail.contains("is-alive: ") == true
            }
            #expect(ill.health?.state == .checking)
            try write("", to: "\(node.root)/alive", mode: 0o600)
            let well = try await coordinator.status { $0.health?.state == .healthy }
            #expect(well.health?.detail == "is-alive: v2")
            var silent = flipping
            silent.revision = 3
            silent.silenced = try await ReleaseStore(node.configuration.releases).staged().first {
                $0.name.rawValue == "v1"
            }
            coordinator.say(silent)
            _ = try await coordinator.status { $0.silenced?.state == .silent }
            var open = silent
            open.revision = 4
            open.writes = .open
            coordinator.say(open)
            _ = try await coordinator.status { $0.revision == 4 && $0.gate.writes == .open }
        }
    }

    /// A coordinator of an earlier version is asked for each file by itself.
    @Test(arguments: [true, false]) func manySmallFilesComeInFewRequests(knowsPacks: Bool)
        async throws
    {
        let node = try TestNode(coordinator)
        let files = Dictionary(
            uniqueKeysWithValues: (0..<(knowsPacks ? 600 : 40)).map {
                ("d\($0 % 20)/f\($0)", "file \($0)")
            })
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: files)
        if knowsPacks { coordinator.knowPacks() }
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            _ = try await coordinator.status(within: 120) { $0.staged.contains(v2) }
        }
        let asked = coordinator.asked
        // One request for the manifest.
        #expect(knowsPacks ? asked == (2, 1) : asked == (0, 41))
    }

    @Test func lateAndRepeatedDirectivesChangeNothing() async throws {
        let node = try TestNode(coordinator)
        try await node.withAgent {
            coordinator.say(directive(5, epoch: 3) { $0.writes = holding })
            _ = try await coordinator.status { $0.gate.writes == .hold }
            let count = coordinator.statuses.count
            // The coordinator insists on its old word; the agent asks again, with patience, and stays as it is.
            coordinator.say(directive(9, epoch: 2) { $0.service = .out })
            try await until("asked again") { coordinator.statuses.count > count }
            coordinator.say(directive(4, epoch: 3))
            try await Task.sleep(for: .milliseconds(300))
            #expect(node.has("read-only") && !node.has("out-of-service"))
            #expect(
                coordinator.statuses.allSatisfy {
                    $0.epoch <= Epoch(rawValue: 3) && $0.service == .in
                })
            coordinator.say(directive(6, epoch: 3) { $0.service = .out })
            _ = try await coordinator.status { $0.service == .out && $0.gate.writes == .open }
            #expect(node.has("out-of-service"))
        }
    }

    @Test func theLeaseOpensTheGateOfALostNodeBeforeTheMigration() async throws {
        let node = try TestNode(coordinator)
        try await node.withAgent {
            coordinator.say(
                directive(1) {
                    $0.writes = holding
                    $0.lease = Lease(duration: .seconds(2), onExpiry: .open)
                })
            _ = try await coordinator.status { $0.gate.writes == .hold }
            // Receipts of a leader of an earlier epoch are no contact.
            coordinator.setReceiptEpoch(.zero)
            try await until("open again") { !node.has("read-only") }
            let report = try await ask(
                LocalRequest(verb: .status), node)
            #expect(report.alarms.contains { $0.contains("opened by itself") })
            // The alarm ends with its cause.
            coordinator.setReceiptEpoch(Epoch(rawValue: 1))
            try await until("no alarm") {
                try await ask(LocalRequest(verb: .status), node).alarms.isEmpty
            }
            #expect(node.has("read-only"))
        }
    }

    @Test func theLeaseKeepsTheGateClosedAfterTheMigrationMayHaveBegun() async throws {
        let node = try TestNode(coordinator)
        try await node.withAgent {
            coordinator.say(
                directive(1) {
                    $0.writes = holding
                    $0.lease = Lease(duration: .seconds(1), onExpiry: .keep)
                })
            _ = try await coordinator.status { $0.lease == .keep && $0.gate.writes == .hold }
            coordinator.stop()
            try await until("an alarm") {
                try await ask(LocalRequest(verb: .status), node)
                    .alarms.contains { $0.contains("the gate stays closed") }
            }
            #expect(node.has("read-only"))
        }
        #expect(node.has("read-only"), "an agent that stops leaves the gate as it is")
    }

    @Test func whatTheConfigurationDoesNotNameIsRefused() async throws {
        let node = try TestNode(coordinator)
        try await node.withAgent {
            coordinator.say(
                directive(1) { $0.tasks = [task("a", "rm"), task("b", "pages", .flush)] })
            let status = try await coordinator.status { $0.tasks.first?.state == .notStarted }
            #expect(status.tasks.map(\.identity.rawValue) == ["a"])
            #expect(status.tasks[0].output.contains("`rm` is not among the actions"))
            coordinator.say(directive(2) { $0.tasks = [task("b", "../x", .flush)] })
            let second = try await coordinator.status {
                $0.revision == 2 && $0.tasks.first?.state == .notStarted
            }
            #expect(second.tasks[0].output.contains("not among the caches"))
        }
    }

    @Test func breakGlassOpensTheGateAndTheCoordinatorIsTold() async throws {
        let node = try TestNode(coordinator)
        let path = node.configuration.localSocket
        try await node.withAgent {
            coordinator.say(
                directive(1) {
                    $0.writes = holding
                    $0.lease = Lease(duration: .minutes(5), onExpiry: .keep)
                })
            _ = try await coordinator.status { $0.gate.writes == .hold }
            var mode = stat()
            #expect(stat(path, &mode) == 0 && mode.st_mode & 0o777 == 0o600)
            let report = try await ask(
                LocalRequest(verb: .openBreakGlass, reason: "shop must sell"), node)
            #expect(report.status.breakGlass == "shop must sell")
            #expect(report.status.gate.writes == .open)
            #expect(!node.has("read-only"))
            _ = try await coordinator.status {
                $0.breakGlass == "shop must sell" && $0.gate.writes == .open
            }
        }
        // It outlives the agent, and ends only when somebody says so.
        try await node.withAgent {
            try await until("the agent's socket") { FileManager.default.fileExists(atPath: path) }
            #expect(!node.has("read-only"))
            _ = try await ask(LocalRequest(verb: .endBreakGlass), node)
            #expect(node.has("read-only"))
            _ = try await coordinator.status {
                $0.breakGlass == nil && $0.gate.writes == .hold && $0.sequence > 1
            }
        }
    }

    /// The first answer that anybody gets after a reboot is that of a closed gate.
    @Test(arguments: [Lease.Expiry.open, .keep])
    func afterARebootNoWriteIsAdmittedThatTheDirectiveForbids(expiry: Lease.Expiry) async throws {
        let node = try TestNode(coordinator)
        try node.remember([
            .accepted(
                directive(1) {
                    $0.writes = .refuse(retryAfter: .seconds(5), message: "upgrade")
                    $0.lease = Lease(duration: .minutes(5), onExpiry: expiry)
                })
        ])
        coordinator.stop()
        let proxy = CurlClient()
        let write = HTTPRequest(
            .get, "http://gate/admit",
            headers: [
                HTTPHeader("X-Sluice-Kind", "write"), HTTPHeader("X-Request-Id", "request-1"),
            ],
            unixSocket: "\(node.runtime)/gate.sock")
        try await node.withAgent {
            var status: Int?
            try await until("the gate answers") {
                status = try? await proxy.perform(write).status
                return status != nil
            }
            #expect(node.has("read-only"))
            #expect(
                status.map { (200...299).contains($0) } == false, "\(String(describing: status))")
        }
    }

    @Test func brokenGlassStaysOpenAfterAReboot() async throws {
        let node = try TestNode(coordinator)
        try node.remember([
            .accepted(directive(1) { $0.writes = holding }),
            .glassBroken(reason: "r", at: Instant(milliseconds: 1)),
        ])
        coordinator.stop()
        try await node.withAgent {
            try await until("the agent's socket") { node.has("agent.sock") }
            let report = try await ask(LocalRequest(verb: .status), node)
            #expect(report.status.gate.writes == .open && !node.has("read-only"))
        }
    }

    /// As after a boot of the node: the agent is there, and nothing has started the application.
    @Test func anApplicationThatDoesNotAnswerIsAnAlarmUntilItDoes() async throws {
        let node = try TestNode(coordinator)
        let v1 = try await node.adopt("v1", files: ["a": "1"])
        let socket = "\(node.root)/sockets/\(v1.identifier).sock"
        try await node.withAgent {
            let status = try await coordinator.status { $0.health != nil }
            #expect(status.health?.state == .checking)
            #expect(status.health?.detail.contains(socket) == true)
            let report = try await ask(LocalRequest(verb: .status), node)
            #expect(report.alarms.contains { $0.contains("does not accept connections") })
            let app = try HTTPServer(unixSocket: socket) { _ in .init(status: 200) }
            defer { app.stop() }
            try await until("no alarm") {
                try await ask(LocalRequest(verb: .status), node).alarms.isEmpty
            }
            try await until("told") { coordinator.statuses.last?.health == nil }
        }
    }

    /// It is answered when all that follows from it is stored, and the write window goes on meanwhile.
    @Test func aStatusDoesNotWaitForTheAnswerToTheOneBefore() async throws {
        let node = try TestNode(coordinator)
        try await node.withAgent {
            _ = try await coordinator.status { _ in true }
            coordinator.holdReceipts(true)
            defer { coordinator.holdReceipts(false) }
            coordinator.say(directive(1) { $0.writes = holding })
            _ = try await coordinator.status { $0.gate.writes == .hold }
            coordinator.say(directive(2))
            // An unanswered status is given up after 5 s.
            _ = try await coordinator.status(within: 4) {
                $0.revision == 2 && $0.gate.writes == .open
            }
        }
    }

    @Test func ofTheStatusesThatFailedTogetherOneIsTriedAgain() {
        var retry = StatusRetry()
        let alone = [retry.begin(), retry.endOrGoOn()]
        #expect(alone == [true, false])
        // The one that was given up may have said more, so the status of now follows; that may fail beside another, too.
        let together = [retry.begin(), retry.begin(), retry.endOrGoOn()]
        #expect(together == [true, false, true])
        let again = [retry.begin(), retry.endOrGoOn(), retry.endOrGoOn()]
        #expect(again == [false, true, false])
    }

    @Test func anApplicationWhoseQueueIsFullIsReachable() throws {
        let directory = try TemporaryDirectory().path
        let path = directory + "/app.sock"
        #expect(reasonNotToConnect(to: path) != nil)
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0 && listen(listener, 0) == 0)
        // The queue keeps one; the others find it full.
        for _ in 0..<3 { #expect(reasonNotToConnect(to: path) == nil) }
    }

    /// A connection that is kept would count among the reads that have not left the application.
    @Test func aHealthCheckLeavesNoConnectionBehind() async throws {
        let node = try TestNode(
            coordinator, extra: "health:\n  page: {socket: \"{socket}\"}")
        let v1 = try await node.adopt("v1", files: ["a": "1"])
        let socket = "\(node.root)/sockets/\(v1.identifier).sock"
        let app = try HTTPServer(unixSocket: socket) { _ in
            .init(status: 200, headers: [("X-Release", "v1")])
        }
        defer { app.stop() }
        try await node.withAgent {
            coordinator.say(
                directive(1) {
                    $0.health = HealthGoal(
                        identity: identity("h"), check: HealthCheckName(unchecked: "page"),
                        release: v1.name, consecutive: 3)
                })
            _ = try await coordinator.status { $0.health?.state == .healthy }
            try await until("no connection is left") {
                UnixSocketTable.now()?.connections(at: socket).isEmpty == true
            }
        }
    }

    @Test func heldWritesAreShownAndGoThroughWhenTheGateOpens() async throws {
        let node = try TestNode(coordinator)
        let proxy = CurlClient()
        try await node.withAgent {
            coordinator.say(directive(1) { $0.writes = holding })
            _ = try await coordinator.status { $0.gate.writes == .hold }
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 1...2 {
                    let request = HTTPRequest(
                        .get, "http://gate/admit",
                        headers: [
                            HTTPHeader("X-Sluice-Kind", "write"),
                            HTTPHeader("X-Request-Id", "request-\(number)"),
                        ], unixSocket: "\(node.runtime)/gate.sock")
                    group.addTask { try await proxy.perform(request).status }
                }
                _ = try await coordinator.status { $0.gate.writesWaiting == 2 }
                coordinator.say(directive(2))
                for try await status in group { #expect((200...299).contains(status)) }
            }
            let status = try await coordinator.status {
                $0.revision == 2 && $0.gate.writes == .open
            }
            #expect(status.gate.writesReleased == 2)
            #expect(status.gate.longestWait > .zero)
            #expect(status.gate.writesRefused == 0)
        }
    }

    @Test func refusedReadsAndRefusedWritesAreReportedApart() async throws {
        let node = try TestNode(coordinator)
        let proxy = CurlClient()
        try await node.withAgent {
            coordinator.say(
                directive(1) {
                    $0.writes = .refuse(retryAfter: .seconds(1), message: "")
                    $0.reads.hold = HoldLimits(
                        atMost: 0, duration: .seconds(1), retryAfter: .seconds(1))
                })
            _ = try await coordinator.status { $0.gate.readsHeld }
            for (number, kind) in ["read", "write", "read"].enumerated() {
                let request = HTTPRequest(
                    .get, "http://gate/admit",
                    headers: [
                        HTTPHeader("X-Sluice-Kind", kind),
                        HTTPHeader("X-Request-Id", "request-\(number)"),
                    ], unixSocket: "\(node.runtime)/gate.sock")
                _ = try await proxy.perform(request)
            }
            let report = try await ask(LocalRequest(verb: .status), node)
            #expect(report.status.gate.readsRefused == 2 && report.status.gate.writesRefused == 1)
            #expect(report.text.contains("reads        held, 0 waiting, 2 refused"))
        }
    }

    @Test func aHostileBundleIsRefusedWithNothingChanged() async throws {
        let node = try TestNode(coordinator)
        let v1 = try await node.adopt("v1", files: ["a": "1"])
        let manifest = Array("not a manifest at all\n".utf8)
        coordinator.hold(manifest)
        let hostile = ReleaseReference(
            name: ReleaseName(unchecked: "v2"), manifest: .sha256(of: manifest))
        let wrong = try node.publish("v3", files: ["a": "three"])
        coordinator.hold(Array("other".utf8), as: .sha256(of: "three"))
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = hostile })
            _ = try await coordinator.status { $0.failures.contains { $0.goal == .stage } }
            coordinator.say(directive(2) { $0.stage = wrong })
            let status = try await coordinator.status { $0.revision == 2 && !$0.failures.isEmpty }
            #expect(status.staged == [v1] && status.active?.release == v1)
        }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: "\(node.root)/app/releases") == [
                v1.identifier
            ])
    }

    @Test func aBlobThatIsNotThereYetIsWaitedForAndNotAFailure() async throws {
        let node = try TestNode(coordinator)
        let v2 = try node.publish("v2", files: ["a": "2"], held: false)
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            _ = try await coordinator.status { $0.revision == 1 }
            try await Task.sleep(for: .milliseconds(300))
            #expect(coordinator.statuses.allSatisfy { $0.failures.isEmpty && $0.staged.isEmpty })
            #expect(try node.publish("v2", files: ["a": "2"]) == v2)
            _ = try await coordinator.status { $0.staged == [v2] }
        }
    }

    @Test func anAgentComesBackWhenItsCoordinatorDoes() async throws {
        let node = try TestNode(coordinator)
        try await node.withAgent {
            _ = try await coordinator.status { _ in true }
            let port = coordinator.port
            coordinator.stop()
            try await Task.sleep(for: .milliseconds(200))
            let next = try FakeCoordinator(port: port)
            next.say(directive(1, epoch: 9) { $0.writes = holding })
            _ = try await next.status { $0.epoch == Epoch(rawValue: 9) && $0.gate.writes == .hold }
        }
    }

    @Test func aReleaseIsTakenOffAgainWhenARunTurnsBack() async throws {
        let node = try TestNode(coordinator)
        let v1 = try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2"])
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            _ = try await coordinator.status { $0.staged.contains(v2) }
            coordinator.say(directive(2) { $0.unstage = v2 })
            _ = try await coordinator.status { $0.revision == 2 && $0.staged == [v1] }
        }
    }
}
