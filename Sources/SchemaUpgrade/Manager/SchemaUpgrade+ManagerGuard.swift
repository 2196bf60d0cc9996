// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What has to be so of Patroni before a run, and for as long as the standby is frozen.
extension SchemaUpgrade {
    /// Changes nothing.
    ///
    /// - Parameter look: of the standby.
    func managerFindings(_ task: DatabaseTask, _ look: StandbyLook) async throws -> [Diagnostic] {
        guard configuration.standby?.patroni != nil else { return [] }
        func error(_ failure: DatabaseFailure) -> Diagnostic {
            Diagnostic(.error, code: failure.code, failure.message, advice: failure.advice)
        }
        var findings: [Diagnostic] = []
        do {
            let patroni = try clusterManager()
            let settings = try await patroni.settings()
            let cluster = try await patroni.cluster()
            for member in cluster.members { _ = try await patroni.node(member) }
            if let claim = settings.sluice, claim.run != task.run.rawValue {
                findings.append(error(SchemaUpgrade.held(claim)))
            }
            try await expectLeaderHere(patroni)
            guard try await member(of: openStandby(), cluster, patroni) != nil else {
                return findings
            }
            if settings.synchronous_mode?.isOn == true {
                findings.append(SchemaUpgrade.synchronousMode)
            }
            if !look.restore.isEmpty { findings.append(SchemaUpgrade.restoreCommand) }
        } catch let failure as DatabaseFailure {
            findings.append(error(failure))
        }
        return findings
    }

    private static let synchronousMode = Diagnostic(
        .error, code: "manager-synchronous",
        "Patroni's synchronous_mode is on: it may make the primary's commits wait for the frozen standby",
        advice:
            "for the time of the run: `patronictl edit-config --set synchronous_mode=false`; or give the plan a standby that Patroni does not know"
    )

    private static let restoreCommand = Diagnostic(
        .error, code: "manager-restore",
        "Patroni gives the standby a restore_command, and would give it back while the standby is frozen: the archive would feed it",
        advice:
            "for the time of the run take it from `recovery_conf` of Patroni's settings; or give the plan a standby that Patroni does not know"
    )

    /// Fails where Patroni works again, or has another leader than when it was paused.
    func refuseActiveManager() async throws {
        guard configuration.standby?.patroni != nil, !isAtStandby else { return }
        let patroni = try clusterManager()
        if managerLeader == nil { try await expectLeaderHere(patroni) }
        if let failure = managerTrouble(try await patroni.cluster()) { throw failure }
    }

    /// The same while the session is at work; a manager that does not answer is no reason to stop: paused, it does nothing.
    func managerTrouble() async -> DatabaseFailure? {
        guard let patroni, managerLeader != nil, let cluster = try? await patroni.cluster() else {
            return nil
        }
        return managerTrouble(cluster)
    }

    private func managerTrouble(_ cluster: PatroniAnswer.Cluster) -> DatabaseFailure? {
        if let leader = cluster.leader?.name, let expected = managerLeader, leader != expected {
            return DatabaseFailure(
                code: "manager-failover",
                "Patroni has made \(leader) its leader in the middle of the run; it was \(expected)",
                advice: "see with `patronictl list` and `patronictl history` who did it, and why",
                // What the session has sent may have come before or after.
                effect: .unknown)
        }
        guard cluster.pause == true else {
            return DatabaseFailure(
                code: "manager-active", "Patroni works again in the middle of the run",
                advice: "see who has resumed it; it has to stay paused until the run has ended")
        }
        return nil
    }
}
