// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

/// Which sessions are named after the lift.
@Suite struct LateSessionsTests {
    static func holder(_ address: String?, _ application: String = "cron") -> SessionHolder {
        SessionHolder(role: "shop", application: application, address: address)
    }

    private func named(
        _ seen: [LateSession], hasPooler: Bool = false,
        nodes: NodePlaces = NodePlaces(addresses: ["10.0.0.1"], hasServer: true)
    ) -> LateSessions {
        LateSessions(
            seen,
            before: WindowSessions(
                since: "then",
                holders: [
                    Self.holder("10.0.0.9"), Self.holder("10.0.0.1"), Self.holder("10.0.0.8"),
                ],
                hasPooler: hasPooler), nodes: nodes)
    }

    @Test func aMachineWithoutAnAgentThatWasThereBeforeIsNamed() {
        let late = named([
            LateSession(holder: Self.holder("10.0.0.9"), isOlder: true),
            LateSession(holder: Self.holder("10.0.0.9"), isOlder: true),
            LateSession(holder: Self.holder("10.0.0.8"), isOlder: false),
        ])
        #expect(
            late.warnings.map(\.message) == [
                "older than the window, from a machine without an agent, so perhaps the old release's: 2 sessions of role shop, application cron, from 10.0.0.9",
                "begun after the lift, from a machine without an agent, like one from before the window: 1 session of role shop, application cron, from 10.0.0.8",
            ])
        #expect(late.warnings.allSatisfy { $0.code == "old-session" && $0.severity == .warning })
        #expect(late.warnings.allSatisfy { $0.advice?.contains("drain: {sessions: end}") == true })
        #expect(late.lines.isEmpty)
    }

    @Test(arguments: [
        LateSession(holder: LateSessionsTests.holder("10.0.0.1"), isOlder: true),
        LateSession(holder: LateSessionsTests.holder("10.0.0.1"), isOlder: false),
        LateSession(holder: LateSessionsTests.holder(nil), isOlder: true),
        LateSession(holder: LateSessionsTests.holder("127.0.0.1"), isOlder: true),
        LateSession(holder: LateSessionsTests.holder("::1"), isOlder: true),
        LateSession(holder: LateSessionsTests.holder("10.0.0.7"), isOlder: false),
        LateSession(holder: LateSessionsTests.holder("10.0.0.9", "psql"), isOlder: false),
    ])
    func nodesTheServersOwnHostAndWhoeverIsNewAreNot(_ session: LateSession) {
        let late = named([session])
        #expect(late.warnings.isEmpty && late.lines.isEmpty)
    }

    /// Where a node does not say where it is, its sessions look like a stranger's: that is said, and is no warning.
    @Test func whereNodesDoNotSayWhereTheyAreItIsSaidThatNobodyCouldTell() {
        let seen = [
            LateSession(holder: Self.holder("10.0.0.9"), isOlder: true),
            LateSession(holder: Self.holder("10.0.0.1"), isOlder: true),
        ]
        let late = named(
            seen,
            nodes: NodePlaces(addresses: ["10.0.0.1"], silent: ["web-2", "web-3"], hasServer: true))
        #expect(late.warnings.isEmpty)
        #expect(
            late.lines == [
                "perhaps the old release's, which could not be judged, for web-2, web-3 did not say where they are; look whether it is one of them: "
                    + "1 session of role shop, application cron, from 10.0.0.9"
            ])
    }

    /// Jobs on the database's own host are strangers' where no agent is there, and nobody's where it is not known.
    @Test(arguments: [nil, "127.0.0.1", "::1"])
    func sessionsOfTheServersOwnHostAreJudgedByWhetherItIsANode(address: String?) {
        let seen = [LateSession(holder: Self.holder(address), isOlder: true)]
        let stranger = named(
            seen, nodes: NodePlaces(addresses: ["10.0.0.1"], hasServer: false))
        #expect(stranger.warnings.count == 1 && stranger.lines.isEmpty)
        #expect(stranger.warnings[0].message.hasPrefix("older than the window"))
        let unknown = named(seen, nodes: NodePlaces(addresses: ["10.0.0.1"]))
        #expect(unknown.warnings.isEmpty && unknown.lines.count == 1)
        #expect(
            unknown.lines[0].contains("nobody knows whether the server's own host is a node"))
        let new = [LateSession(holder: Self.holder(address, "psql"), isOlder: false)]
        #expect(named(new, nodes: NodePlaces(addresses: [])).lines.isEmpty)
    }

    @Test func whatALaterTaskKnowsOfTheHostCounts() {
        var lift = WindowSessions(since: "then", holders: [])
        lift.isOnNode = true
        let first = WindowSessions(holders: [])
        #expect(first.merged(with: lift).isOnNode == true)
        #expect(lift.merged(with: first).isOnNode == true)
    }

    @Test func aPoolersConnectionsAreRenewedAndThoseThatAreNotAreNamed() {
        let late = named(
            [
                LateSession(holder: Self.holder("10.0.0.9"), isOlder: true),
                LateSession(holder: Self.holder("10.0.0.8"), isOlder: false),
            ], hasPooler: true)
        #expect(late.warnings.count == 1)
        #expect(
            late.warnings.first?.advice?.hasPrefix(
                "if a pooler is there, renew its connections (docs/pooler.md)") == true)
        #expect(late.lines.count == 1)
        #expect(late.lines.first?.hasSuffix("a pooler renews its connections so") == true)
    }

    @Test func whatIsKeptAndSaidIsBounded() {
        let many = (0..<500).map { Self.holder("10.1.\($0 / 250).\($0 % 250)") }
        let kept = WindowSessions(holders: Set(many))
        #expect(kept.holders.count == WindowSessions.most)
        let later = kept.merged(with: WindowSessions(since: "then", holders: Set(many)))
        #expect(later.holders.count == WindowSessions.most && later.since == "then")
        let late = named(many.map { LateSession(holder: $0, isOlder: true) })
        #expect(late.warnings.count == LateSessions.mostNamed + 1)
        #expect(late.warnings.last?.message.hasSuffix("490 more holders of sessions") == true)
    }
}
