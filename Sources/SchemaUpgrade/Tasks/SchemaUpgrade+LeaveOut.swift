// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// A database whose migration has failed, where the run goes on without it: its fence stays up when the run has ended, and says so. The
/// next run that names the database takes the fence over.
extension SchemaUpgrade {
    /// Proves that the fence is up, as the census left it, and writes down that it may be taken over.
    ///
    /// - Throws: `fence-down` when it is not, or a migration tool is still let through.
    func leaveOut(_ task: DatabaseTask) async throws -> DatabaseReport {
        let found = try await fenceState()
        if let found, found.isHeld(against: task) { throw found.held }
        guard let found, found.state == "up", found.census != nil else {
            throw DatabaseFailure(
                code: "fence-down",
                "the fence is not up, or no census has proved that nobody writes",
                advice: "see who has taken it down; then roll the run back")
        }
        if try await !open().query("SELECT FROM sluice.fence WHERE pass IS NOT NULL").isEmpty {
            throw DatabaseFailure(
                code: "fence-down", "a migration tool is still let through the fence",
                advice: "roll the run back, which ends the tool's sessions")
        }
        try await refuseTablesWithoutTrigger()
        let keep =
            claim(task) + expectFence(task, "up") + FenceStatements.keepForLater
        try await open().transaction { session in _ = try session.execute(keep) }
        return DatabaseReport(lines: [
            "the fence stays up; the next run that names this database takes it over"
        ])
    }

    /// Makes the fence this run's, where an earlier one has left it up for a later one.
    func takeOver(_ task: DatabaseTask) async throws -> [String] {
        guard let found = try await fenceState(), found.isLeftOut, found.isHeld(against: task)
        else { return [] }
        // The last one to take it over may be at work.
        try await refuseOtherRuns(task)
        let take =
            claim(task)
                + """
                UPDATE sluice.fence SET run = \(quotedLiteral(task.run.rawValue)), epoch = \(task.epoch.rawValue)
                    WHERE run = \(quotedLiteral(found.run)) AND state = 'up' AND \(FenceStatements.isLeftOut)
                """
        try await open().transaction { session in _ = try session.execute(take) }
        // Somebody else may have been faster: then it is theirs.
        if let now = try await fenceState(), now.isHeld(against: task) { throw now.held }
        return ["took over the fence of run \(found.run), up since \(found.since)"]
    }

    /// What preflight says of it.
    func leftOutFindings(_ fence: FenceState?) -> [Diagnostic] {
        guard let fence, fence.isLeftOut else { return [] }
        return [
            Diagnostic(
                .warning, code: "left-out",
                "run \(fence.run) has left this database out: its fence is up since \(fence.since)",
                advice:
                    "this run takes it over, migrates what is left, lowers it, and opens the site (leave_out_with)"
            )
        ]
    }
}

extension FenceState {
    /// Whether another run's fence keeps this one out. One that was left up for a later run does not.
    func keepsOut(_ task: DatabaseTask) -> Bool { isHeld(against: task) && !isLeftOut }
}

extension FenceStatements {
    /// Whether the fence that is up was left up for a later run.
    static let isLeftOut = "EXISTS (SELECT FROM sluice.stored WHERE kind = 'left-out')"

    static let keepForLater = """
        INSERT INTO sluice.stored (kind, object, part, before) VALUES ('left-out', 0, 0, '{}')
            ON CONFLICT (kind, object, part, detail) DO NOTHING
        """
}
