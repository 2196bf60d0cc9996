// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// How far a file has come that runs statement by statement; a row of `sluice.progress`.
struct Progress: Sendable {
    var version: String
    var direction: String
    var digest: String
    var run: String
    /// So many statements have taken effect.
    var done: Int
    /// The next one was begun, and nobody knows what became of it.
    var begun: Bool
    /// The indexes that were invalid before it began, as an array of object numbers.
    var invalid: String

    static let columns = "version, direction, digest, run, done, begun, invalid"

    init(_ row: Rows.Row) {
        version = row.text(0)
        direction = row.text(1)
        digest = row.text(2)
        run = row.text(3)
        done = Int(row.integer(4) ?? 0)
        begun = row.isTrue(5)
        invalid = row.text(6)
    }

    init(of step: Step, _ task: DatabaseTask) {
        version = step.migration.version
        direction = step.isUndo ? "down" : "up"
        digest = step.migration.digest.hexadecimal
        run = task.run.rawValue
        done = 0
        begun = false
        invalid = "{}"
    }

    static func find(_ step: Step, _ session: borrowing Session) throws -> Progress? {
        try session.query(
            "SELECT \(columns) FROM sluice.progress WHERE version = $1 AND direction = $2",
            [step.migration.version, step.isUndo ? "down" : "up"]
        ).first.map(Progress.init)
    }

    static func all(of task: DatabaseTask, _ session: borrowing Session) throws -> [Progress] {
        try session.query(
            """
            SELECT \(columns) FROM sluice.progress WHERE run = $1 AND direction = 'up'
            ORDER BY version::bigint DESC
            """,
            [task.run.rawValue]
        ).map(Progress.init)
    }

    /// Writes the row, in the caller's transaction.
    func store(_ task: DatabaseTask, _ session: borrowing Session) throws {
        try session.query(
            """
            INSERT INTO sluice.progress (version, direction, digest, run, epoch, done, begun, invalid)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8::oid[])
            ON CONFLICT (version, direction) DO UPDATE SET digest = excluded.digest, run = excluded.run,
                epoch = excluded.epoch, done = excluded.done, begun = excluded.begun,
                invalid = excluded.invalid, at = clock_timestamp()
            """,
            [
                version, direction, digest, task.run.rawValue, "\(task.epoch.rawValue)",
                "\(done)", "\(begun)", invalid,
            ])
    }

    func remove(_ session: borrowing Session) throws {
        try session.query(
            "DELETE FROM sluice.progress WHERE version = $1 AND direction = $2",
            [version, direction])
    }
}
