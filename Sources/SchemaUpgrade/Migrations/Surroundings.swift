// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient

/// What a file of migrations finds around it: what a session of the tables' owner would find that has just begun.
struct Surroundings: Sendable, Hashable {
    /// The role that migrations run as (`SET ROLE`); `nil` for the migrator itself.
    var owner: String?
    /// Without Sluice's own schema.
    var searchPath: String
    /// What `ALTER ROLE owner SET …` says, name and value.
    var settings: [Setting] = []
    var lockTimeout: String
    var statementTimeout: String
    /// `SET` statements of the file itself, where its statements run one by one.
    var said: [String] = []

    struct Setting: Sendable, Hashable {
        var name: String
        var value: String
    }

    /// Settings that are ours to say while a migration runs.
    private static let ours: Set<String> = [
        "search_path", "role", "session_authorization", "lock_timeout", "statement_timeout",
        "idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout",
        "client_encoding", "standard_conforming_strings", "session_replication_role",
        "application_name", "default_transaction_read_only", "default_transaction_isolation",
        "default_transaction_deferrable", "deadlock_timeout", "client_connection_check_interval",
    ]

    /// The text that makes the session so.
    ///
    /// - Parameters:
    ///   - isLocal: until the end of the transaction.
    ///   - waitsQuietly: the statement's waits keep nobody out, so they are not bounded.
    func entrance(isLocal: Bool, waitsQuietly: Bool = false) -> String {
        let set = isLocal ? "SET LOCAL" : "SET"
        let local = "\(isLocal)"
        let settings = settings.filter { !Surroundings.ours.contains($0.name) }.map {
            "SELECT pg_catalog.set_config(\(quotedLiteral($0.name)), \(quotedLiteral($0.value)), \(local));\n"
        }
        let role = owner.map { "\(set) ROLE \(quotedIdentifier($0));" } ?? ""
        return """
            RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL;
            SELECT pg_catalog.set_config('transaction_timeout', '0', \(local))
                WHERE pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL;
            \(set) client_encoding = 'UTF8'; \(set) standard_conforming_strings = on;
            \(set) idle_in_transaction_session_timeout = 0; \(set) idle_session_timeout = 0;
            \(set) client_connection_check_interval = '1s'; \(set) client_min_messages = notice;
            \(set) default_transaction_read_only = off;
            \(set) default_transaction_isolation = 'read committed'; \(set) default_transaction_deferrable = off;
            SELECT pg_catalog.set_config('deadlock_timeout', '20ms', \(local)),
                pg_catalog.set_config('session_replication_role', 'origin', \(local)) FROM pg_catalog.pg_roles
                WHERE rolname OPERATOR(pg_catalog.=) session_user AND rolsuper;
            \(set) lock_timeout = '\(waitsQuietly ? "0" : lockTimeout)';
            \(set) statement_timeout = '\(statementTimeout)';
            \(settings.joined())
            SELECT pg_catalog.set_config('search_path', \(quotedLiteral(searchPath)), \(local));
            \(role)
            \(said.map { $0 + "\n;" }.joined(separator: "\n"))
            """
    }

    /// With what the file has said before a statement, in a session of whoever has run only this one.
    func before(_ statement: Statement, of script: Script) -> Surroundings {
        var later = self
        later.said = script.settings(before: statement)
        return later
    }

    /// Without it, for statements of Sluice's own.
    var beforeTheFile: Surroundings {
        var first = self
        first.said = []
        return first
    }

    /// The text that takes everything away that a file may have left in its session, inside a transaction or after it.
    ///
    /// Advisory locks are not in it: some are Sluice's own.
    static let exit = """
        RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; DEALLOCATE ALL; UNLISTEN *;
        DISCARD TEMP; DISCARD SEQUENCES;

        """

    /// A search path without the schema `sluice`, under whatever name it is there.
    ///
    /// - Parameter role: whose name `"$user"` stands for.
    static func withoutOwnSchema(_ path: String, role: String) -> String {
        path.split(separator: ",").map { $0.drop(while: { $0 == " " }) }.filter { element in
            var name = element.split(separator: " ").joined(separator: " ")
            if name.first == "\"", name.last == "\"", name.count > 1 {
                name = String(name.dropFirst().dropLast())
            } else {
                name = name.lowercased()
            }
            return name != "sluice" && !(name == "$user" && role == "sluice")
        }.joined(separator: ", ")
    }
}

/// The constraints of a database that may be checked at the end of a transaction.
struct DeferrableConstraints: Sendable {
    /// All of them, ready for `SET CONSTRAINTS`; only in schemas that the role of the moment may use.
    var all: [String]
    /// Those that are deferred unless somebody says otherwise.
    var deferred: [String]

    /// Asks nobody's operators: the search path of the moment may be a migration's.
    static let question = """
        SELECT pg_catalog.format('%I.%I', n.nspname, c.conname),
            pg_catalog.bool_and(c.condeferrable AND c.condeferred),
            pg_catalog.bool_or(n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())
        FROM pg_catalog.pg_constraint AS c JOIN pg_catalog.pg_namespace AS n
            ON n.oid OPERATOR(pg_catalog.=) c.connamespace
        WHERE NOT pg_catalog.pg_is_other_temp_schema(n.oid)
            AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        GROUP BY n.nspname, c.conname HAVING pg_catalog.bool_or(c.condeferrable)
        """

    init(_ rows: Rows) {
        all = rows.map { $0.text(0) }
        deferred = rows.filter { $0.isTrue(1) && !$0.isTrue(2) }.map { $0.text(0) }
    }

    /// Checks now what would be checked at the end of the transaction.
    ///
    /// By name, and not `ALL`: that would hold for constraints that the next file creates.
    var check: String? {
        all.isEmpty ? nil : "SET CONSTRAINTS \(all.joined(separator: ", ")) IMMEDIATE"
    }

    /// Every constraint as it is when a transaction begins.
    var restore: String {
        deferred.isEmpty ? "" : "SET CONSTRAINTS \(deferred.joined(separator: ", ")) DEFERRED;"
    }
}
