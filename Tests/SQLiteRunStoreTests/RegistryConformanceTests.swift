// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import RunStore
import SQLiteRunStore
import Testing
import TestSupport
import UpgradeModel

@Suite struct RegistryConformanceTests {
    private let node = Identity.node(NodeName(unchecked: "web1"))
    private let person = Identity.operator(OperatorName(unchecked: "ada"))
    private let now = Instant(milliseconds: 5)

    @Test(arguments: Implementation.allCases)
    func knowsWhoseATokenIsByItsHash(_ implementation: Implementation) async throws {
        let registry = try await implementation.open().registry
        try await registry.addToken(hash: .sha256(of: "n"), for: node, labels: [:], at: now)
        try await registry.addToken(hash: .sha256(of: "o"), for: person, labels: [:], at: now)
        #expect(try await registry.identities()[.sha256(of: "n")] == node)
        #expect(try await registry.identities()[.sha256(of: "o")] == person)
        #expect(try await registry.identities()[.sha256(of: "x")] == nil)
    }

    @Test(arguments: Implementation.allCases)
    func keepsAnOperatorApartFromANodeOfTheSameName(_ implementation: Implementation) async throws {
        let registry = try await implementation.open().registry
        let namesake = Identity.operator(OperatorName(unchecked: "web1"))
        try await registry.addToken(hash: .sha256(of: "n"), for: node, labels: [:], at: now)
        try await registry.addToken(hash: .sha256(of: "o"), for: namesake, labels: [:], at: now)
        try await registry.revokeTokens(of: namesake)
        #expect(try await registry.identities()[.sha256(of: "n")] == node)
        #expect(try await registry.identities()[.sha256(of: "o")] == nil)
        #expect(try await registry.nodes().map(\.name.rawValue) == ["web1"])
    }

    @Test(arguments: Implementation.allCases)
    func listsNodesByNameWithTheirLabelsALaterTokenWithoutLabelsLeavesThem(
        _ implementation: Implementation
    ) async throws {
        let registry = try await implementation.open().registry
        for name in ["web2", "web10", "web1"] {
            try await registry.addToken(
                hash: .sha256(of: name), for: .node(NodeName(unchecked: name)),
                labels: ["role": "web", "name": name], at: now)
        }
        try await registry.addToken(hash: .sha256(of: "second"), for: node, labels: [:], at: now)
        try await registry.addToken(
            hash: .sha256(of: "third"), for: .node(NodeName(unchecked: "web2")),
            labels: ["role": "db"], at: now)
        let nodes = try await registry.nodes()
        #expect(nodes.map(\.name.rawValue) == ["web1", "web10", "web2"])
        #expect(nodes[0].labels == ["role": "web", "name": "web1"])
        #expect(nodes[2].labels == ["role": "db"])
    }

    @Test(arguments: Implementation.allCases)
    func storesManyTokensAtOnceOneThatReplacesEndsTheOwnersEarlierOnesAndNoOthers(
        _ implementation: Implementation
    ) async throws {
        let registry = try await implementation.open().registry
        try await registry.addToken(hash: .sha256(of: "old"), for: node, labels: [:], at: now)
        try await registry.addToken(hash: .sha256(of: "o"), for: person, labels: [:], at: now)
        let others = (2...300).map { number in
            NewToken(
                hash: .sha256(of: "n\(number)"),
                identity: .node(NodeName(unchecked: "web\(number)")), labels: ["role": "web"])
        }
        let replacing = NewToken(hash: .sha256(of: "new"), identity: node, replaces: true)
        try await registry.addTokens(others + [replacing], at: now)
        let identities = try await registry.identities()
        #expect(identities.count == 301)
        #expect(identities[.sha256(of: "old")] == nil)
        #expect(identities[.sha256(of: "new")] == node)
        #expect(identities[.sha256(of: "o")] == person)
        #expect(try await registry.nodes().count == 300)
    }

    @Test(arguments: Implementation.allCases)
    func saysWhenItHasChangedAndNotOtherwise(_ implementation: Implementation) async throws {
        let registry = try await implementation.open().registry
        let first = try await registry.changes()
        #expect(try await registry.changes() == first)
        try await registry.addToken(hash: .sha256(of: "1"), for: node, labels: [:], at: now)
        let second = try await registry.changes()
        #expect(second != first)
        #expect(try await registry.changes() == second)
        try await registry.revokeTokens(of: node)
        let third = try await registry.changes()
        #expect(third != second && third != first)
    }

    @Test
    func onADiskSaysWhatAnotherProcessHasChanged() async throws {
        let directory = try TemporaryDirectory()
        let registry = try await SQLiteRunStore(directory: directory.path)
        let other = try await SQLiteRunStore(directory: directory.path, examine: .none)
        let first = try await registry.changes()
        try await other.addToken(hash: .sha256(of: "1"), for: node, labels: [:], at: now)
        let second = try await registry.changes()
        #expect(second != first)
        try await other.revokeTokens(of: node)
        #expect(try await registry.changes() != second)
    }

    @Test(arguments: Implementation.allCases)
    func forgetsEveryTokenOfARevokedNodeAndTheNode(_ implementation: Implementation) async throws {
        let registry = try await implementation.open().registry
        try await registry.addToken(hash: .sha256(of: "1"), for: node, labels: ["a": "b"], at: now)
        try await registry.addToken(hash: .sha256(of: "2"), for: node, labels: [:], at: now)
        #expect(try await registry.revokeTokens(of: node))
        #expect(try await registry.identities()[.sha256(of: "1")] == nil)
        #expect(try await registry.identities()[.sha256(of: "2")] == nil)
        #expect(try await registry.nodes().isEmpty)
        #expect(try await !registry.revokeTokens(of: node))
        #expect(try await !registry.revokeTokens(of: person))
        try await registry.addToken(hash: .sha256(of: "3"), for: person, labels: [:], at: now)
        #expect(try await registry.revokeTokens(of: person))
    }
}
