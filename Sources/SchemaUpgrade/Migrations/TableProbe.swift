// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient

/// An empty temporary table with the columns of another, on which PostgreSQL writes down in its own words what a statement says. It is
/// rolled back.
struct TableProbe: Sendable {
    /// In quotes, where they are needed.
    let table: String
    let owner: String?

    /// Does something with the table ``IndexDefinition/probe``. Changes nothing; needs the right to make a temporary table.
    ///
    /// The application's event triggers see nothing of it, as far as the migrator may say so.
    func probing<Value>(
        _ session: borrowing Session, _ body: (borrowing Session) throws -> Value
    ) throws -> Value {
        // A savepoint where the statement is one of a transaction.
        let isInside = session.isInTransaction
        try session.execute(isInside ? "SAVEPOINT \"sluice probe\"" : "BEGIN")
        let back =
            isInside
            ? "ROLLBACK TO SAVEPOINT \"sluice probe\"; RELEASE SAVEPOINT \"sluice probe\""
            : "ROLLBACK"
        let value: Value
        do {
            try session.execute(making)
            value = try body(session)
        } catch {
            if session.isInTransaction { try session.execute(back) }
            throw error
        }
        try session.execute(back)
        return value
    }

    private var making: String {
        let role = owner.map { "SET LOCAL ROLE \(quotedIdentifier($0));" } ?? ""
        return """
            RESET ROLE;
            SELECT pg_catalog.set_config(quiet.name, quiet.value, true)
                FROM (VALUES ('session_replication_role', 'replica'), ('event_triggers', 'off')) AS quiet (name, value),
                    pg_catalog.pg_roles WHERE rolname = session_user AND rolsuper
                    AND pg_catalog.current_setting(quiet.name, true) IS NOT NULL;
            \(role)
            CREATE TEMP TABLE "sluice probe" (LIKE \(table))
            """
    }
}
