// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Lets the application's event triggers see what a migration might do, as the role and in the schema of the migrations, and takes
/// it back: one of them may refuse it.
struct EventTriggerTrial: Sendable {
    var surroundings: Surroundings
    var level: FenceLevel

    private static let migration = """
        CREATE TABLE sluice_preflight (n integer);
        ALTER TABLE sluice_preflight ADD COLUMN m integer;
        CREATE INDEX ON sluice_preflight (n);
        DROP TABLE sluice_preflight
        """
    /// A migrator that is no superuser makes Sluice's own schema before the eyes of all triggers.
    private static let ownSchema = """
        CREATE SCHEMA sluice_preflight; CREATE TABLE sluice_preflight.probe (n integer)
        """

    func ask(_ session: borrowing Session) throws -> [Diagnostic] {
        let row = try session.query(
            """
            SELECT string_agg(quote_ident(evtname), ', ' ORDER BY evtname), current_setting('transaction_read_only') = 'on',
                has_database_privilege(current_database(), 'CREATE')
            FROM pg_event_trigger
            WHERE evtenabled IN ('O', 'A') AND evtname NOT IN ('\(FenceSchema.eventTrigger)', '\(FencePass.eventTrigger)')
            """)[0]
        guard let triggers = row[0] else { return [] }
        if row.isTrue(1) {
            return [
                Diagnostic(
                    .warning, code: "event-trigger",
                    "the database has event triggers (\(triggers)); whether they refuse what a migration does was not tried, because this look cannot write",
                    advice: "preflight tries it, before anything is touched")
            ]
        }
        var found = try refusal(
            "what a migration does", by: triggers, of: EventTriggerTrial.migration, session
        ) { session in
            do {
                try session.execute(
                    surroundings.entrance(isLocal: true) + "SET LOCAL lock_timeout = '2s'")
            } catch let error as PostgresError where !error.isConnectionLost {
                // Who may not become the owner is another question's to say.
                return false
            }
            return try session.query(
                "SELECT pg_catalog.has_schema_privilege(current_schema(), 'CREATE')")[0].isTrue(0)
        }
        if level == .owner, row.isTrue(2) {
            found += try refusal(
                "what Sluice does", by: triggers, of: EventTriggerTrial.ownSchema, session
            ) { session in
                try session.execute("SET LOCAL lock_timeout = '2s'")
                return true
            }
        }
        return found
    }

    /// - Parameter mayBeTried: prepares the transaction, and says whether it is good for it.
    private func refusal(
        _ what: String, by triggers: String, of statements: String, _ session: borrowing Session,
        when mayBeTried: (borrowing Session) throws -> Bool
    ) throws -> [Diagnostic] {
        struct RolledBack: Error {}
        struct Refused: Error { var error: PostgresError }
        do {
            try session.transaction { session in
                guard try mayBeTried(session) else { throw RolledBack() }
                do {
                    try session.execute(statements)
                } catch let error as PostgresError where !error.isConnectionLost {
                    throw Refused(error: error)
                }
                throw RolledBack()
            }
        } catch is RolledBack {
            return []
        } catch let refused as Refused {
            return [
                Diagnostic(
                    .error, code: "event-trigger",
                    "an event trigger of the database (\(triggers)) refuses \(what): \(refused.error.description)",
                    advice:
                        "let it pass the migrator, or disable it for the time of the run: ALTER EVENT TRIGGER … DISABLE"
                )
            ]
        }
        return []
    }
}
