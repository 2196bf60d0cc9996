// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import NodeEngine
import Releases
import Synchronization
import TestSupport
import Testing
import UpgradeModel

@testable import NodeAgent

/// `sluice-agent adopt --from`: what another tool serves comes under Sluice, and the tool does not notice.
@Suite(.serialized, .timeLimit(.minutes(5))) struct TakeOverTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private func adopt(
        _ node: TestNode, _ arguments: [String]
    ) async throws -> (status: Int32?, output: String) {
        try await AgentProcess.run(node, ["adopt", "--release", "v1"] + arguments)
    }

    /// Writes what a refusal proposes into the node's configuration, to the letter.
    private func follow(_ output: String, _ node: TestNode) throws {
        let lines = output.split(separator: "\n", omittingEmptySubsequences: false)
        let from = try #require(lines.firstIndex(of: "application:"), "\(output)")
        let block = lines[from...].prefix { !$0.isEmpty }.joined(separator: "\n")
        let text = try String(contentsOfFile: node.configurationFile, encoding: .utf8)
        try write(
            text.replacing("application:", with: block), to: node.configurationFile, mode: 0o600)
    }

    @Test(arguments: DeployedTree.Tool.allCases, [true, false])
    func aRunFromWhatWasTakenOverWorks(_ tool: DeployedTree.Tool, _ isAbsolute: Bool) async throws {
        let node = try TestNode(coordinator)
        let tree = try DeployedTree(tool, isAbsolute: isAbsolute, at: node.root + "/shop")
        let before = try tree.snapshot()
        let refused = try await adopt(node, ["--from", tree.root])
        #expect(refused.status == 3 && refused.output.contains("[adopt-shared]"))
        #expect(!FileManager.default.fileExists(atPath: node.root + "/app"))
        try follow(refused.output, node)

        for _ in 0..<2 {
            let adopted = try await adopt(node, ["--from", tree.root])
            #expect(adopted.status == 0, "\(adopted.output)")
            #expect(adopted.output.contains("v1 is current as generation 1"))
            #expect(adopted.output.contains("\(tree.served) of \(tool.rawValue)"))
            #expect(adopted.output.contains("log is \(tree.root)/shared/log"))
            #expect(adopted.output.contains("`release.expected: v1`"))
        }
        #expect(try tree.snapshot() == before, "the tool's tree is as it was")

        // Configured anew, as an agent that is started then.
        let configured = try TestNode(reading: node)
        let v2 = try configured.publish(
            "v2", files: ["app.txt": "of v2", "public/index.html": "page 2"])
        let current = node.root + "/app/current/files"
        try await configured.withAgent {
            coordinator.say(
                directive(1) {
                    $0.stage = v2
                    $0.active = ActivationGoal(
                        release: v2, identity: ActivationIdentity(unchecked: "f"))
                })
            let status = try await coordinator.status { $0.active?.release == v2 }
            #expect(status.active?.cacheGeneration == CacheGeneration(rawValue: 2))
        }
        #expect(try String(contentsOfFile: current + "/app.txt", encoding: .utf8) == "of v2")
        // The same uploads, logs and secrets, for both tools.
        #expect(try String(contentsOfFile: current + "/.env", encoding: .utf8) == "SECRET=1\n")
        try write("new", to: current + "/public/uploads/dog.png", mode: 0o644)
        #expect(
            try String(
                contentsOfFile: tree.root + "/current/public/uploads/dog.png", encoding: .utf8)
                == "new")
    }

    @Test func whatThePersonHasPutIntoSharedStaysAsItIs() async throws {
        let node = try TestNode(coordinator)
        let tree = try DeployedTree(.capistrano, isAbsolute: true, at: node.root + "/shop")
        try follow(try await adopt(node, ["--from", tree.root]).output, node)
        try FileManager.default.createDirectory(
            atPath: node.root + "/app/shared/log", withIntermediateDirectories: true)
        let adopted = try await adopt(node, ["--from", tree.root])
        let shared = node.root + "/app/shared"
        #expect(adopted.status == 0 && adopted.output.contains("log is \(shared)/log\n"))
        #expect(adopted.output.contains(".env is \(tree.root)/shared/.env\n"))
        #expect(
            (try? FileManager.default.destinationOfSymbolicLink(atPath: shared + "/log")) == nil)
        #expect(
            try FileManager.default.destinationOfSymbolicLink(atPath: shared + "/.env")
                == tree.root + "/shared/.env")
    }

    /// A directory by version, a service that is switched, and Kamal's own directory beside it.
    @Test func whereContainersRunTheAdviceLeadsToAVersion() async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                release: {switch: switch-version, report: report-version}
                actions:
                  switch-version:
                    command: [/bin/ln, -sfn, "{version}", ROOT/versions/serving]
                    repeatable: true
                  report-version: {command: [/usr/bin/readlink, ROOT/versions/serving]}
                """)
        let files = FileManager.default
        try files.createDirectory(
            atPath: node.root + "/.kamal/apps/shop", withIntermediateDirectories: true)
        for version in ["1.0", "2.0"] {
            try files.createDirectory(
                atPath: "\(node.root)/versions/\(version)", withIntermediateDirectories: true)
        }
        try files.createSymbolicLink(
            atPath: node.root + "/versions/serving", withDestinationPath: "1.0")
        for place in [node.root, node.root + "/.kamal"] {
            let refused = try await adopt(node, ["--from", place])
            #expect(refused.status == 3 && refused.output.contains("--version-name"))
        }
        let wrong = try await adopt(node, ["--version-name", "2.0"])
        #expect(wrong.status == 1 && wrong.output.contains("the node reports 1.0, not 2.0"))
        let adopted = try await adopt(node, ["--version-name", "1.0"])
        #expect(adopted.status == 0, "\(adopted.output)")
        #expect(
            try files.destinationOfSymbolicLink(atPath: node.root + "/versions/serving") == "1.0")
    }

    @Test func onlyOneSourceIsTaken() async throws {
        let node = try TestNode(coordinator)
        let tree = try DeployedTree(.capistrano, isAbsolute: true, at: node.root + "/shop")
        for arguments in [["--from", tree.root, "--bundle", tree.release], []] {
            let refused = try await adopt(node, arguments)
            #expect(refused.status == 1)
            #expect(refused.output.contains("give one of --bundle, --from and --version-name"))
        }
    }

    /// Also while nobody calls it: a sync of the disk, or the digest of one large file.
    @Test func progressSpeaksByItselfAndEndsWithItsOwner() async throws {
        let said = Mutex<[String]>([])
        var progress: Progress? = Progress("reading", every: 5) { text in
            said.withLock { $0.append(text) }
        }
        try await until("it has spoken twice") { said.withLock { $0.count } >= 2 }
        #expect(said.withLock { $0.allSatisfy { $0.hasPrefix("reading (") } })
        progress?.say("bringing it to the disk")
        try await until("it says what is new") {
            said.withLock { $0.last?.hasPrefix("bringing it to the disk") == true }
        }
        progress = nil
    }
}
