// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import FoundationEssentials
import Glibc
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// The application's own migration tool on a node.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ToolTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private let actions = """
        actions:
          migrate:
            command: [/bin/sh, -c, 'env > ROOT/tool.env; echo "Applying 0002..."; echo "$PGOPTIONS"; sleep 0.3']
            environment: [HOME]
            repeatable: true
          preview: {command: [/bin/sh, -c, 'env | grep PGOPTIONS; env | grep SLUICE_PASS; seq 1 20000']}
          slow-preview: {command: [/bin/sh, -c, 'echo asked; while [ ! -e ROOT/answer ]; do sleep 0.05; done'], timeout: 60s}
          refused: {command: [/bin/sh, -c, 'echo "psql: ERROR:  this database is read-only while an upgrade runs" >&2; exit 1']}
          migrate-back: {command: [/bin/sh, -c, 'env > ROOT/back.env; exit 3']}
          migrate-site: {command: [/bin/sh, -c, 'echo "$SLUICE_DATABASE_NAME $0"', "{database}"]}
          slow: {command: [/bin/sh, -c, 'echo begun | tee -a ROOT/slow; trap "" TERM; sleep 60'], timeout: 90s, repeatable: true}
        """

    private func goal(_ task: String, _ actions: String...) -> PassGoal {
        PassGoal(
            task: TaskIdentity(rawValue: task), actions: actions.map { ActionName(unchecked: $0) })
    }

    private func tool(_ identity: String, _ action: String, _ told: ToolRun = ToolRun()) -> NodeTask
    {
        var task = task(identity, action)
        task.tool = told
        return task
    }

    @Test func theSecretIsAKeyedHashOfTheTaskThatANewAgentMakesAgain() throws {
        let file = try TemporaryDirectory().path + "/pass.key"
        let identity = TaskIdentity(rawValue: "r1/nodes.tool/tool/migrate/1")
        let secret = try PassMaker(file: file).secret(of: identity)
        #expect(secret.utf8.count == 64)
        #expect(try PassMaker(file: file).secret(of: identity) == secret)
        let next = TaskIdentity(rawValue: "r1/nodes.tool/tool/migrate/2")
        #expect(try PassMaker(file: file).secret(of: next) != secret)
        var status = stat()
        #expect(stat(file, &status) == 0 && status.st_mode & 0o777 == 0o600)
        let other = try TemporaryDirectory().path + "/pass.key"
        #expect(try PassMaker(file: other).secret(of: identity) != secret)
    }

    /// RFC 4231, test case 1: the key of 20 bytes 0x0b filled up with nothing, the text "Hi There".
    @Test func theSecretIsHMACOfSHA256() throws {
        let file = try TemporaryDirectory().path + "/pass.key"
        // A key of 32 bytes is what the file has; zeros behind a key are the same key.
        let key = [UInt8](repeating: 0x0B, count: 20) + [UInt8](repeating: 0, count: 12)
        try Data(key).write(to: URL(filePath: file))
        #expect(
            try PassMaker(file: file).secret(of: TaskIdentity(rawValue: "Hi There"))
                == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    }

    @Test func theToolGetsTheSecretAndNobodyElseDoes() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        let goal = goal("tool.1", "migrate", "migrate-back")
        coordinator.say(directive(1) { $0.pass = goal })
        let offer = try await coordinator.status { $0.pass?.task == goal.task }.pass
        let digest = try #require(offer?.digest)
        coordinator.say(
            directive(2) {
                $0.pass = goal
                $0.tasks = [tool("tool.1", "migrate")]
            })
        // Its last words, while it runs.
        _ = try await coordinator.status { status in
            status.tasks.contains { $0.state == .running && $0.output.contains("sluice.pass") }
        }
        let ended = try await coordinator.status { $0.tasks.first?.state == .done }
        let environment = try String(
            decoding: Data(contentsOf: URL(filePath: node.root + "/tool.env")), as: UTF8.self)
        let options = try #require(
            environment.split(separator: "\n").first { $0.hasPrefix("PGOPTIONS=") })
        #expect(options.hasSuffix(" -c default_transaction_read_only=off"))
        let secret = try #require(
            options.split(separator: "sluice.pass=").last?.split(separator: " ").first)
        #expect(Digest.sha256(of: String(secret)) == digest)
        #expect(
            environment.contains("SLUICE_PASS_PARAMETER=options=-c%20sluice.pass%3D\(secret)%20"))
        #expect(ended.tasks.first?.output.contains("sluice.pass=(secret)") == true)
        for status in coordinator.statuses {
            #expect(!"\(status)".contains(secret))
        }
    }

    /// A driver that reads no PGOPTIONS meets the fence; outside the window nobody is to blame.
    @Test func aToolThatTheFenceHasRefusedIsToldWhatShowsThePass() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        coordinator.say(directive(1) { $0.tasks = [tool("tool.1", "refused")] })
        let refused = try await coordinator.status { $0.tasks.first?.state == .failed }
        let output = try #require(refused.tasks.first?.output)
        #expect(output.contains(ToolSession.refusal))
        #expect(output.contains("agents/migrate/with-pass or relay-pass before the command"))
        coordinator.say(
            directive(2) {
                $0.tasks = [tool("tool.2", "refused", ToolRun(unfenced: .online))]
            })
        let outside = try await coordinator.status {
            $0.tasks.first?.identity.rawValue == "tool.2" && $0.tasks.first?.state == .failed
        }
        #expect(outside.tasks.first?.output.contains("relay-pass") == false)
    }

    @Test func theActionThatUndoesIsToldWhatTheLedgerWas() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        let told = ToolRun(ledgerBefore: "shelf.0001", ledgerAdded: "shelf.0002\nauth.0012")
        coordinator.say(directive(1) { $0.tasks = [tool("back.1", "migrate-back", told)] })
        let status = try await coordinator.status { $0.tasks.first?.state == .failed }
        #expect(status.tasks.first?.output == "exit status 3")
        let environment = try String(
            decoding: Data(contentsOf: URL(filePath: node.root + "/back.env")), as: UTF8.self)
        #expect(environment.contains("SLUICE_LEDGER_BEFORE=shelf.0001\n"))
        #expect(environment.contains("SLUICE_LEDGER_ADDED=shelf.0002\nauth.0012\n"))
    }

    /// A plan has several databases, and one tool for all of them.
    @Test func theActionIsToldWhichDatabaseItIsFor() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        let told = ToolRun(database: DatabaseName(unchecked: "shop.example"))
        coordinator.say(
            directive(1) {
                $0.tasks = [tool("site.1", "migrate-site", told), tool("site.2", "migrate-site")]
            })
        let status = try await coordinator.status { status in
            status.tasks.contains { $0.state == .notStarted }
        }
        #expect(status.tasks.first?.output.contains("shop.example shop.example") == true)
        #expect(status.tasks.last?.output.contains("database, and the action needs one") == true)
    }

    /// An action that is no migration tool, such as what closes the site of one database.
    @Test func anotherActionIsToldWhichDatabaseItIsForAsWell() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        coordinator.say(
            directive(1) {
                $0.tasks = [
                    NodeTask(
                        identity: TaskIdentity(rawValue: "close.1"), kind: .action,
                        name: "migrate-site", timing: .beforeActivation, release: nil,
                        database: DatabaseName(unchecked: "shop.example"))
                ]
            })
        let status = try await coordinator.status { status in
            status.tasks.contains { $0.state == .done }
        }
        #expect(status.tasks.first?.output.contains("shop.example shop.example") == true)
    }

    /// Where no fence stands there is no secret to be had; its sessions have a name, by which the database finds them.
    @Test func aToolThatRunsOutsideTheWindowGetsANameAndNoSecret() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        let told = ToolRun(ledgerBefore: "shelf.0001", unfenced: .online)
        let run = RunIdentifier(unchecked: "r7")
        coordinator.say(
            directive(1) {
                $0.run = run
                $0.tasks = [tool("early.1", "migrate", told)]
            })
        let status = try await coordinator.status { $0.tasks.first?.state == .done }
        #expect(status.tasks.first?.preview == nil)
        let environment = try String(
            decoding: Data(contentsOf: URL(filePath: node.root + "/tool.env")), as: UTF8.self)
        #expect(environment.contains("PGAPPNAME=\(ToolSession.name(in: run))\n"))
        #expect(environment.contains("SLUICE_LEDGER_BEFORE=shelf.0001\n"))
        #expect(!environment.contains("sluice.pass"))
        #expect(!environment.contains("PGOPTIONS"))
    }

    /// A preview is read only, and what it says first is what is wanted of it.
    @Test func aToolThatSaysWhatItWouldDoIsReadOnlyAndRunAgainAfterItsAgent() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        var agent = try AgentProcess(node)
        let told = ToolRun(unfenced: .preview)
        coordinator.say(directive(1) { $0.tasks = [tool("preview.1", "preview", told)] })
        let status = try await coordinator.status { $0.tasks.first?.state == .done }
        let preview = try #require(status.tasks.first?.preview)
        #expect(
            preview.hasPrefix(
                """
                PGOPTIONS=-c default_transaction_read_only=on
                SLUICE_PASS_PARAMETER=options=-c%20default_transaction_read_only%3Don
                1
                2

                """))
        #expect(preview.utf8.count <= TaskOutcome.previewLimit)
        #expect(preview.utf8.count > TaskOutcome.previewLimit - 100)
        coordinator.say(directive(2) { $0.tasks = [tool("preview.2", "slow-preview", told)] })
        _ = try await coordinator.status { status in
            status.tasks.contains { $0.state == .running && $0.output == "asked" }
        }
        agent.kill()
        try Data().write(to: URL(filePath: node.root + "/answer"))
        agent = try AgentProcess(node)
        defer { agent.kill() }
        let again = try await coordinator.status {
            $0.tasks.first?.identity.rawValue == "preview.2" && $0.tasks.first?.state == .done
        }
        #expect(again.tasks.first?.preview == "asked\n")
    }

    @Test func aNodeThatLacksTheActionSaysSoInsteadOfAPass() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        coordinator.say(directive(1) { $0.pass = goal("tool.1", "migrate", "revert") })
        let offer = try await coordinator.status { $0.pass != nil }.pass
        #expect(offer?.digest == nil)
        #expect(offer?.problem?.contains("`revert` is not among the actions of") == true)
    }

    @Test func aToolIsEndedWhenItIsNotAskedForAnyMore() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        coordinator.say(directive(1) { $0.tasks = [tool("slow.1", "slow")] })
        _ = try await coordinator.status { status in
            status.tasks.contains { $0.state == .running && $0.output == "begun" }
        }
        // The next piece of work begins only when the tool, which does not listen, is gone.
        coordinator.say(directive(2) { $0.tasks = [tool("tool.2", "migrate")] })
        _ = try await coordinator.status { $0.tasks.first?.state == .done }
    }

    /// `repeatable` is for other actions: what a tool has done, only the database can say.
    @Test func aToolWhoseAgentIsKilledIsNotRunAgain() async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        var agent = try AgentProcess(node)
        coordinator.say(directive(1) { $0.tasks = [tool("slow.1", "slow")] })
        _ = try await coordinator.status { status in
            status.tasks.contains { $0.state == .running && $0.output == "begun" }
        }
        agent.kill()
        agent = try AgentProcess(node)
        defer { agent.kill() }
        // The process lives on; the run gives it up, and it is ended.
        coordinator.say(directive(2) { $0.tasks = [tool("tool.2", "migrate")] })
        _ = try await coordinator.status { $0.tasks.first?.state == .done }
        let marks = try String(
            decoding: Data(contentsOf: URL(filePath: node.root + "/slow")), as: UTF8.self)
        #expect(marks == "begun\n")
    }
}
