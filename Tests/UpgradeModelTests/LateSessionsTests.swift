// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

/// Which sessions are named after the lift.
@Suite struct LateSessionsTests {
    static func holder(_ address: String?, _ application: String = "cron") -> SessionHolder {
        SessionHolder(role: "shop", application: application, address: address)
    }

    private func named(
        _ seen: [LateSession], hasPooler: Bool = false, nodes: Set<String> = ["10.0.0.1"]
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

    @Test func whereNodesDoNotSayWhereTheyAreNobodyIs() {
        let late = named([LateSession(holder: Self.holder("10.0.0.9"), isOlder: true)], nodes: [])
        #expect(late == named([]))
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
