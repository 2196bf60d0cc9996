// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import RunStore
import SQLiteRunStore
import TestSupport
import Testing
import UpgradeModel

@testable import CoordinatorProgram

@Suite struct TokenCommandTests {
    @Test
    func beginsAStoreOnlyWhereDataSaysSo() throws {
        let usual = try DataOption.parse([])
        #expect(throws: ExitCode(3)) { try usual.begins { _ in false } }
        #expect(try !usual.begins { $0 == "/var/lib/sluice" })
        let given = try DataOption.parse(["--data", "/srv/sluice"])
        #expect(try given.begins { _ in false })
        #expect(try !given.begins { $0 == "/srv/sluice" })
    }

    @Test(arguments: [
        ("token create", TokenCommand.configuration),
        ("token create", TokenCommand.Create.configuration),
        ("token revoke", TokenCommand.Revoke.configuration),
        ("coordinator", CoordinatorCommand.configuration),
        ("journal verify", JournalCommand.configuration),
        ("journal verify", JournalCommand.Verify.configuration),
    ])
    func hasExamplesAsItsSubcommandsAndTheCoordinatorsHave(
        _ command: String, _ configuration: CommandConfiguration
    ) {
        #expect(configuration.discussion.contains("EXAMPLES\n  sluice \(command)"))
    }

    @Test
    func makesTheTokensOfAListOfNodesAtOnceEachWithItsLabelsOrNone() async throws {
        let directory = try TemporaryDirectory()
        let list = "\(directory.path)/nodes.txt"
        let lines = (1...2000).map { "web-\($0) site=s\($0 % 2)" }
        try Data(("# the fleet\n\n" + lines.joined(separator: "\n")).utf8)
            .write(to: URL(filePath: list))
        let data = ["--data", "\(directory.path)/store"]
        let create = try TokenCommand.Create.parse(
            ["--file", list, "--label", "role=web", "--node", "db-1"] + data)
        try await create.run()
        let store = try await SQLiteRunStore(directory: "\(directory.path)/store")
        let nodes = try await store.nodes()
        #expect(nodes.count == 2001)
        #expect(nodes.last?.labels == ["role": "web", "site": "s1"])
        #expect(try await store.identities().count == 2001)
        // The second line is wrong: nothing is made.
        try Data("db-2\ndb-3 role\n".utf8).write(to: URL(filePath: list))
        let wrong = try TokenCommand.Create.parse(["--file", list] + data)
        await #expect(throws: ExitCode(1)) { try await wrong.run() }
        #expect(try await store.nodes().count == 2001)
        await store.close()
    }

    @Test
    func revokesNobodyWithAComplaintAndBeginsNoStoreForIt() async throws {
        let directory = FileManager.default.temporaryDirectory
            .appending(path: "sluice-token-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: directory) }
        let data = ["--data", directory.path()]
        let revoke = try TokenCommand.Revoke.parse(["--node", "web1"] + data)
        await #expect(throws: ExitCode(3)) { try await revoke.run() }
        #expect(!FileManager.default.fileExists(atPath: directory.path()))
        try await TokenCommand.Create.parse(["--operator", "web1"] + data).run()
        await #expect(throws: ExitCode(1)) { try await revoke.run() }
        try await TokenCommand.Create.parse(["--node", "web1"] + data).run()
        try await revoke.run()
        await #expect(throws: ExitCode(1)) { try await revoke.run() }
    }
}

@Suite struct IdentityTests {
    @Test
    func isLookedForWhereThereIsAListOfItsKind() {
        #expect(Identity.node(NodeName(unchecked: "web1")).advice.contains("sluice nodes"))
        #expect(!Identity.operator(OperatorName(unchecked: "ada")).advice.contains("sluice nodes"))
    }
}
