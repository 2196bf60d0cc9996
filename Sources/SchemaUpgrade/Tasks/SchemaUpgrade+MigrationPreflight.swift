// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// What can be asked about migrations before the run: whose they are, and whether the server knows their words.
extension SchemaUpgrade {
    func migrationFindings() async throws -> [Diagnostic] {
        let surroundings: Surroundings
        do {
            surroundings = try await self.surroundings()
        } catch let failure as DatabaseFailure {
            return [
                Diagnostic(
                    .error, code: failure.code, failure.message, advice: failure.advice)
            ]
        }
        let statements = configuration.migrations.unknownStatements
        let createsSomething = configuration.migrations.migrations.contains {
            $0.up.statements.contains { $0.text.prefix(6).lowercased() == "create" }
        }
        let membership =
            level == .owner ? surroundings.owner.map(PreflightQuestion.membership) : nil
        let trial = EventTriggerTrial(surroundings: surroundings, level: level)
        return try await open().perform { session in
            var findings = try SchemaUpgrade.ownerFindings(surroundings, createsSomething, session)
            findings += try trial.ask(session)
            if let membership { findings += try membership.ask(session) }
            for statement in statements {
                findings += try SchemaUpgrade.syntaxFindings(statement, session)
            }
            return findings
        }
    }

    private static func ownerFindings(
        _ surroundings: Surroundings, _ createsSomething: Bool, _ session: borrowing Session
    ) throws -> [Diagnostic] {
        let row = try session.query(
            "SELECT rolname, rolsuper, quote_ident(rolname) FROM pg_roles WHERE rolname = coalesce($1, session_user)",
            [surroundings.owner])[0]
        if row.isTrue(1) {
            return [
                Diagnostic(
                    .warning, code: "owner-superuser",
                    "migrations run as the superuser \(row.text(0)), who owns the application's tables",
                    advice:
                        "give the tables to a role that is none: ALTER TABLE … OWNER TO …, or name it as database.owner"
                )
            ]
        }
        guard createsSomething else { return [] }
        let lacking = try session.query(
            """
            SELECT quote_ident(n.nspname) FROM pg_namespace AS n
            WHERE n.nspname IN (SELECT nspname FROM pg_namespace JOIN pg_class ON relnamespace = pg_namespace.oid
                    WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND nspname NOT IN \(FenceSchema.foreignSchemas)
                        AND relowner = (SELECT oid FROM pg_roles WHERE rolname = $1))
                AND NOT has_schema_privilege($1, n.oid, 'CREATE') ORDER BY 1
            """, [row.text(0)])
        return lacking.map { schema in
            Diagnostic(
                .warning, code: "owner-rights",
                "migrations run as \(row.text(0)), who may create nothing in schema \(schema.text(0))",
                advice: "GRANT CREATE ON SCHEMA \(schema.text(0)) TO \(row.text(2))")
        }
    }

    /// Asks the server whether a statement is SQL, without running it: it stands behind the return of a block.
    private static func syntaxFindings(_ statement: Statement, _ session: borrowing Session) throws
        -> [Diagnostic]
    {
        let body = "BEGIN RETURN;\n\(statement.text);\nEND"
        do {
            try session.execute("DO LANGUAGE plpgsql \(quotedLiteral(body))")
            return []
        } catch {
            guard error.sqlState == "42601" else { throw error }
            return [
                Diagnostic(
                    .error, code: "migration-syntax", at: statement.position, error.description,
                    advice:
                        "the server does not know this statement; mend it, or upgrade the server")
            ]
        }
    }
}
