// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Patroni, which looks after both servers: paused for a run, and told afterwards which of them is the primary.
///
/// While it is paused it promotes nobody by itself. It still corrects what it has set: see ``Starvation`` for what it lets be.
extension SchemaUpgrade {
    /// Longer than the pauses between two looks of a member's at the cluster's settings (`loop_wait`, 10 s unless set).
    private static let patienceWithMembers = Span.seconds(25)

    /// - Throws: `standby`, `manager`, `manager-address`.
    func clusterManager() throws -> Patroni {
        if let patroni { return patroni }
        guard let address = try standbyAccess().patroni else {
            throw DatabaseFailure(code: "manager", "this coordinator knows no cluster manager")
        }
        let made = try Patroni(address, mayBeInClear: configuration.mayBeInClear)
        patroni = made
        return made
    }

    /// Who has paused it and what was set before stands in Patroni's own settings, written by the same request as the pause.
    func pauseManager(_ task: DatabaseTask) async throws -> DatabaseReport {
        let patroni = try clusterManager()
        let settings = try await patroni.settings()
        if let claim = settings.sluice, claim.run != task.run.rawValue {
            throw SchemaUpgrade.held(claim)
        }
        // One that has just been started again says so in a moment, and writers do not wait yet.
        let leader = try await expectLeaderHere(patroni, within: .seconds(10))
        if settings.sluice == nil || settings.pause != true {
            try await refuseReplacedLeader(task)
            let claim = settings.sluice ?? PatroniAnswer.Claim(of: task.run, settings)
            // A standby that was promoted by hand has left the leader's timeline: Patroni, paused or not, would rewind it.
            try await patroni.change(
                """
                {"pause": true, "sluice": \(try claim.json()),
                "postgresql": {"use_pg_rewind": false, "remove_data_directory_on_diverged_timelines": false}}
                """)
        }
        let members = try await expectPaused(patroni)
        return DatabaseReport(
            lines: [
                "Patroni is paused\(settings.pause == true && settings.sluice == nil ? " already" : ""): "
                    + "\(members.joined(separator: ", ")) say so; its leader is \(leader)"
            ])
    }

    /// Gives back what was set before, once its leader is the server that is the primary: resumed with another one, it would make
    /// that server a standby, and what has been written since would be lost.
    func resumeManager(_ task: DatabaseTask) async throws -> DatabaseReport {
        let patroni = try clusterManager()
        guard var claim = try await patroni.settings().sluice, claim.run == task.run.rawValue else {
            return DatabaseReport(lines: ["Patroni is not paused for this run; left alone"])
        }
        try await refuseReplacedLeader(task)
        var lines = isAtStandby ? try await handOver(patroni, &claim) : []
        let leader = try await expectLeaderHere(patroni)
        try await patroni.change(claim.restoring)
        // A member may answer for a moment with what it has read before.
        let isRestored = try await reached(by: deadline(.seconds(20)), every: .milliseconds(200)) {
            try await patroni.settings().sluice == nil
        }
        guard isRestored else {
            throw DatabaseFailure(
                code: "manager-refused", "Patroni's settings are still those of the run",
                advice: "see with `patronictl show-config` who changes them", effect: .unknown)
        }
        lines.append(
            claim.pause == true
                ? "Patroni stays paused, as it was before the run; its leader is \(leader)"
                : "Patroni goes on as before the run; its leader is \(leader)")
        return DatabaseReport(lines: lines)
    }

    /// After a promotion: Patroni still takes the first primary for its leader. It stops that one, gives its key to the new primary, and starts
    /// the first one as a standby, which cannot follow: it has the migration.
    private func handOver(
        _ patroni: Patroni, _ claim: inout PatroniAnswer.Claim
    ) async throws -> [String] {
        let cluster = try await patroni.cluster()
        guard let own = try await member(of: open(), cluster, patroni) else {
            throw DatabaseFailure(
                code: "manager-leader",
                "no member of Patroni's is the new primary, so it stays paused and takes the first one for its leader",
                advice: "see with `patronictl list` whether Patroni runs beside the new primary")
        }
        guard let leader = cluster.leader, leader.name != own.name else {
            // Nobody holds the key: whoever runs as a primary takes it by itself.
            try await expectLeader(own.name, patroni)
            return []
        }
        if claim.isLagRaised != true {
            // Behind in bytes is what the migration has written on the first one.
            claim.isLagRaised = true
            claim.lag = try await patroni.settings().maximum_lag_on_failover
            try await patroni.change(
                "{\"maximum_lag_on_failover\": \(Int64.max / 4), \"sluice\": \(try claim.json())}")
        }
        try await patroni.switchOver(from: leader.name, to: own.name)
        try await expectLeader(own.name, patroni)
        return [
            "Patroni's leader was \(leader.name), and is \(own.name); make \(leader.name) a standby of it: `patronictl reinit CLUSTER \(leader.name)`"
        ]
    }

    private func expectLeader(_ name: String, _ patroni: Patroni) async throws {
        var last: String?
        let isSo = try await reached(by: deadline(.seconds(60)), every: .milliseconds(200)) {
            last = try await patroni.cluster().leader?.name
            return last == name
        }
        guard isSo else {
            throw DatabaseFailure(
                code: "manager-leader",
                "Patroni's leader is \(last ?? "nobody"), and the primary is \(name); it stays paused, for resumed it would undo that",
                advice:
                    "`patronictl switchover --candidate \(name)`, or see in Patroni's log why it does not come to that; then try again",
                effect: .unknown)
        }
    }

    /// A leader that was replaced changes nothing, neither here nor there.
    private func refuseReplacedLeader(_ task: DatabaseTask) async throws {
        if try await isInstalled() { _ = try await open().execute(claim(task)) }
    }

    /// - Returns: the leader's name, which is the server that the session is with.
    @discardableResult
    func expectLeaderHere(_ patroni: Patroni, within patience: Span = .zero) async throws
        -> String
    {
        let end = deadline(patience)
        while true {
            do {
                return try await leaderHere(patroni)
            } catch let failure as DatabaseFailure where failure.code == "manager-leader" {
                try checkCancellation()
                if ContinuousClock.now >= end { throw failure }
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private func leaderHere(_ patroni: Patroni) async throws -> String {
        let cluster = try await patroni.cluster()
        guard let leader = cluster.leader else {
            throw DatabaseFailure(
                code: "manager-leader", "Patroni has no leader",
                advice: "see with `patronictl list` why, and wait until it has one")
        }
        let own = try await member(of: open(), cluster, patroni)
        guard own?.name == leader.name else {
            throw DatabaseFailure(
                code: "manager-leader",
                "Patroni's leader is \(leader.name), and "
                    + (own.map { "the database's address leads to another server (\($0.name))" }
                        ?? "none of its members says that it looks after the server at the database's address"),
                advice:
                    "give the coordinator the leader's address and that of a standby; or `patronictl switchover`"
            )
        }
        managerLeader = leader.name
        return leader.name
    }

    /// The member whose server a session is with: no two servers were started at the same microsecond.
    func member(
        of connection: PostgresConnection, _ cluster: PatroniAnswer.Cluster, _ patroni: Patroni
    ) async throws -> PatroniAnswer.Member? {
        for member in cluster.members {
            guard let started = try? await patroni.node(member).postmaster_start_time,
                let row = try await connection.query(
                    "SELECT pg_postmaster_start_time() = $1::timestamptz", [started]
                ).first, row.isTrue(0)
            else { continue }
            return member
        }
        return nil
    }

    /// - Returns: the members, each of which has said itself that it is paused.
    private func expectPaused(_ patroni: Patroni) async throws -> [String] {
        var (names, left) = ([String](), [String]())
        let isSo = try await reached(
            by: deadline(SchemaUpgrade.patienceWithMembers), every: .milliseconds(200)
        ) {
            let members = try await patroni.cluster().members
            (names, left) = (members.map(\.name), [])
            for member in members {
                if try await patroni.node(member).pause != true { left.append(member.name) }
            }
            return left.isEmpty
        }
        if isSo { return names }
        throw DatabaseFailure(
            code: "manager-active",
            "Patroni was told to pause, and \(left.joined(separator: ", ")) did not say so within \(SchemaUpgrade.patienceWithMembers)",
            advice:
                "see in Patroni's log there why, and that `loop_wait` is no longer than ten seconds"
        )
    }

    static func held(_ claim: PatroniAnswer.Claim) -> DatabaseFailure {
        DatabaseFailure(
            code: "manager-held", "Patroni is paused for run \(claim.run)",
            advice: FenceSchema.heldAdvice(claim.run)
                + "; where that run is nowhere any more: `patronictl edit-config --set sluice=null --set pause=null`"
        )
    }
}
