// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// One statement outside a transaction, and what is known of it afterwards.
///
/// Whether it has taken effect is asked only after an attempt that did not answer, and by what the statement says: its own
/// definition, made of an empty table of the same columns, is compared with what is there.
struct LoneStatement: Sendable {
    var statement: Statement
    var surroundings: Surroundings
    /// Fail where `IF NOT EXISTS` would pass the statement over because of something else; not on the way back.
    var refusesAnother = true
    var owner: String? { surroundings.owner }

    /// What is left to do after an attempt that did not answer.
    enum Rest {
        case nothing, run
        case runAfter(String)
        case runInstead(String)
    }

    /// The indexes that are invalid now, as an array of object numbers.
    static let invalidIndexes =
        "SELECT coalesce(pg_catalog.array_agg(indexrelid), '{}') FROM pg_catalog.pg_index WHERE NOT indisvalid"

    /// Runs the statement as the first attempt, or what an attempt that did not answer has left to do.
    ///
    /// - Parameters:
    ///   - isRepeated: an attempt was begun before, and nobody knows what became of it.
    ///   - patience: how long a statement may take whose waits are not bounded.
    /// - Returns: what the server said beside its answer.
    func run(
        _ session: borrowing Session, isRepeated: Bool, invalid: String, patience: Span
    ) throws -> ServerNotices {
        var notices = ServerNotices()
        do {
            try enter(session, patience)
            switch isRepeated ? try rest(session, invalid) : .run {
            case .nothing: break
            case .run:
                if refusesAnother {
                    try ExistingObjectCheck(statement: statement, surroundings: surroundings)
                        .refuseAnother(session)
                }
                try session.execute(statement.text, hearing: &notices)
            case .runAfter(let preparation):
                try session.execute(preparation)
                try session.execute(statement.text, hearing: &notices)
            case .runInstead(let other): try session.execute(other, hearing: &notices)
            }
            return notices
        } catch let error as PostgresError {
            throw StatementFailure(position: statement.position(of: error), error: error)
        }
    }

    private func enter(_ session: borrowing Session, _ patience: Span) throws {
        let isQuiet = statement.kind.waitsQuietly
        var surroundings = surroundings
        if isQuiet, surroundings.statementTimeout == "0ms" {
            surroundings.statementTimeout = "\(max(1000, patience.milliseconds))ms"
        }
        // A block may end its transaction, and with it everything that is set for one.
        try session.execute(surroundings.entrance(isLocal: false, waitsQuietly: isQuiet))
    }

    private func rest(_ session: borrowing Session, _ invalid: String) throws -> Rest {
        switch statement.kind {
        case .transactional, .block, .unknown: return .run
        case .repeatable:
            try dropLeftovers(session, invalid)
            return .run
        case .createIndex(let definition):
            switch try state(of: definition, session) {
            case .none, .another: return .run
            case .invalid(let name): return .runAfter("DROP INDEX CONCURRENTLY \(name)")
            case .valid: return .nothing
            }
        case .dropIndex(let index):
            return try session.query("SELECT pg_catalog.to_regclass($1)", [index.quoted])[0][0]
                == nil ? .nothing : .run
        case .detachPartition(let table, let partition):
            guard let isPending = try pendingDetach(table, partition, session) else {
                return .nothing
            }
            return isPending
                ? .runInstead(LoneStatement.finalize(table, partition)) : .run
        }
    }

    static func finalize(_ table: QualifiedName, _ partition: QualifiedName) -> String {
        "ALTER TABLE \(table.quoted) DETACH PARTITION \(partition.quoted) FINALIZE"
    }

    /// Whether a detachment is pending; `nil` when the partition is none of the table's.
    func pendingDetach(
        _ table: QualifiedName, _ partition: QualifiedName, _ session: borrowing Session
    ) throws -> Bool? {
        try session.query(
            """
            SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhparent = pg_catalog.to_regclass($1)
                AND inhrelid = pg_catalog.to_regclass($2)
            """, [table.quoted, partition.quoted]
        ).first.map { $0.isTrue(0) }
    }

    enum IndexState {
        case none
        /// One of that name says something else.
        case another(name: String, what: String)
        case invalid(name: String)
        case valid(name: String)
    }

    /// What there is of an index that a statement defines. Changes nothing; needs the right to make a temporary table.
    func state(of definition: IndexDefinition, _ session: borrowing Session) throws -> IndexState {
        let found = try session.query(
            """
            SELECT x.indexrelid, x.indisvalid OR i.relkind = 'I', x.indrelid = t.oid,
                pg_catalog.format('%I.%I', n.nspname, i.relname),
                coalesce(pg_catalog.pg_get_indexdef(x.indexrelid), 'no index')
            FROM pg_catalog.pg_class AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
                JOIN pg_catalog.pg_class AS i ON i.relnamespace = t.relnamespace AND i.relname = $2
                LEFT JOIN pg_catalog.pg_index AS x ON x.indexrelid = i.oid
            WHERE t.oid = pg_catalog.to_regclass($1)
            """, [definition.table.quoted, definition.index.name])
        guard let row = found.first else { return .none }
        guard row.isTrue(2), try isDefined(row.text(0), definition, session) else {
            return .another(name: row.text(3), what: row.text(4))
        }
        return row.isTrue(1) ? .valid(name: row.text(3)) : .invalid(name: row.text(3))
    }

    private func isDefined(
        _ index: String, _ definition: IndexDefinition, _ session: borrowing Session
    ) throws -> Bool {
        let probe = TableProbe(table: definition.table.quoted, owner: owner)
        return try probe.probing(session) { session in
            try session.execute(definition.probing)
            return try isEqual(index, session)
        }
    }

    /// Whether the probe's index says what this one does.
    private func isEqual(_ index: String, _ session: borrowing Session) throws -> Bool {
        try session.query(
            """
            SELECT pg_catalog.regexp_replace(pg_catalog.pg_get_indexdef($1::pg_catalog.oid), '^.*? USING ', '')
                    = pg_catalog.regexp_replace(pg_catalog.pg_get_indexdef(p.indexrelid), '^.*? USING ', '')
                AND x.indisunique = p.indisunique
            FROM pg_catalog.pg_index AS x, pg_catalog.pg_index AS p
            WHERE x.indexrelid = $1::pg_catalog.oid
                AND p.indexrelid = 'pg_temp."sluice probe index"'::pg_catalog.regclass
            """, [index]
        ).first?.isTrue(0) == true
    }

    /// Drops what a failed attempt has left: indexes that are invalid, and were not before it.
    ///
    /// - Returns: what was dropped.
    @discardableResult
    func dropLeftovers(_ session: borrowing Session, _ invalid: String) throws -> [String] {
        let names: [String]
        switch statement.kind {
        case .createIndex(let definition):
            names = try session.query(
                """
                SELECT pg_catalog.format('%I.%I', n.nspname, i.relname)
                FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
                    JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
                WHERE NOT x.indisvalid AND x.indrelid = pg_catalog.to_regclass($1) AND i.relname = $2
                    AND x.indexrelid <> ALL ($3::pg_catalog.oid[])
                """, [definition.table.quoted, definition.index.name, invalid]
            ).map { $0.text(0) }
        case .repeatable:
            // What REINDEX CONCURRENTLY leaves has a name of its own; another session's is left alone.
            names = try session.query(
                """
                SELECT pg_catalog.format('%I.%I', n.nspname, i.relname)
                FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
                    JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
                WHERE NOT x.indisvalid AND i.relname ~ '_cc(new|old)[0-9]*$'
                    AND x.indexrelid <> ALL ($1::pg_catalog.oid[])
                    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
                        WHERE p.relid = x.indrelid)
                """, [invalid]
            ).map { $0.text(0) }
        case .transactional, .block, .unknown, .dropIndex, .detachPartition: return []
        }
        for name in names { try session.execute("DROP INDEX CONCURRENTLY \(name)") }
        return names
    }
}
