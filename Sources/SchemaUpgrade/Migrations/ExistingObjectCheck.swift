// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient

/// PostgreSQL passes a statement with `IF NOT EXISTS` over by the name alone. Here what has that name is held against what the
/// statement says of it, so that a migration is not said to be applied that has made nothing of the kind.
struct ExistingObjectCheck: Sendable {
    let statement: Statement
    let surroundings: Surroundings

    private static let advice =
        "change what is there so that it is as the statement says, rename or drop it, or mend the file"

    /// Asked where the statement would run: with the search path that it would have.
    ///
    /// - Throws: ``StatementFailure`` with `object-differs`.
    func refuseAnother(_ session: borrowing Session) throws {
        switch statement.existing {
        case nil: return
        case .index(let definition):
            let lone = LoneStatement(statement: statement, surroundings: surroundings)
            try refuse(lone.state(of: definition, session))
        case .relation(let relation): try look(at: relation, session)
        case .columns(let columns, let table): try look(at: columns, of: table, session)
        }
    }

    func refuse(_ state: LoneStatement.IndexState) throws {
        switch state {
        case .none, .valid: return
        case .another(let name, let what):
            throw differs(
                "\(name) is there and is another: \(what)",
                advice:
                    "drop it or rename it (ALTER INDEX … RENAME TO …), or mend the file")
        case .invalid(let name):
            throw differs(
                "the index \(name) is there and is invalid: it was never built to its end, or is being built now",
                advice:
                    "unless somebody is building it: DROP INDEX CONCURRENTLY \(name); then it is built anew"
            )
        }
    }

    private func look(at relation: ExistingObject.Relation, _ session: borrowing Session) throws {
        let found = try session.query(
            """
            SELECT c.oid, c.relkind, pg_catalog.format('%I.%I', n.nspname, c.relname)
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.relname = $2 AND n.nspname = coalesce($1, pg_catalog.current_schema())
            """, [relation.name.schema, relation.name.name]
        ).first
        guard let found else { return }
        let name = found.text(2)
        let kind = Self.kinds[found.text(1)] ?? "something else"
        guard kind == relation.kind.rawValue else {
            throw differs("\(name) is there and is no \(relation.kind.rawValue), but: \(kind)")
        }
        var differences =
            try differences(relation.columns, found.text(0), session)
            + missingParents(relation.parents, found.text(0), session)
        // Of columns that are not there, or are others, there is no more to say.
        if differences.isEmpty {
            differences = try self.differences(relation.rules, of: found.text(0), session)
        }
        if !differences.isEmpty {
            throw differs(
                "\(kind) \(name) is there and is another: \(differences.joined(separator: ", "))")
        }
    }

    private static let kinds = [
        "r": "table", "p": "table", "v": "view", "m": "materialized view", "S": "sequence",
        "f": "foreign table", "i": "index", "I": "index", "c": "composite type",
    ]

    private func look(
        at columns: [ExistingObject.Column], of table: QualifiedName, _ session: borrowing Session
    ) throws {
        let object = try session.query(
            "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid", [table.quoted])[0][0]
        guard let object else { return }
        let there = try Set(
            session.query(
                """
                SELECT attname FROM pg_catalog.pg_attribute
                WHERE attrelid = $1::pg_catalog.oid AND attnum > 0 AND NOT attisdropped
                """, [object]
            ).map { $0.text(0) })
        let known = columns.filter { there.contains($0.name) }
        var differences = try differences(known, object, session)
        if differences.isEmpty {
            differences = try self.differences(known.flatMap(\.rules), of: object, session)
        }
        if !differences.isEmpty {
            throw differs(
                "table \(table) has it already, and another: \(differences.joined(separator: ", "))"
            )
        }
    }

    /// In words, what is other of the columns than a statement says: missing, of another type, or nullable.
    private func differences(
        _ columns: [ExistingObject.Column], _ object: String, _ session: borrowing Session
    ) throws -> [String] {
        guard !columns.isEmpty else { return [] }
        let said = columns.map { column in
            let type = column.type.map(quotedLiteral) ?? "NULL"
            let modifiers = column.modifiers.map(quotedLiteral) ?? "NULL"
            return "(\(quotedLiteral(column.name)), \(type), \(modifiers), \(column.isNotNull))"
        }
        return try session.query(
            """
            WITH said (name, type, modifiers, required) AS (VALUES \(said.joined(separator: ", "))),
            compared AS (SELECT s.*, a.attname, a.attnotnull, pg_catalog.format_type(a.atttypid, a.atttypmod) AS found,
                    s.type IS NOT NULL AND pg_catalog.to_regtype(s.type)::pg_catalog.oid IS DISTINCT FROM a.atttypid
                    OR s.modifiers <> coalesce(pg_catalog.substring(
                        pg_catalog.format_type(a.atttypid, a.atttypmod), '[(]([0-9,-]+)[)]'), '') AS is_other
                FROM said AS s LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = $1::pg_catalog.oid
                    AND a.attname = s.name::pg_catalog.name AND a.attnum > 0 AND NOT a.attisdropped)
            SELECT CASE WHEN attname IS NULL THEN pg_catalog.format('there is no column %I', name)
                WHEN is_other THEN pg_catalog.format('column %I is of type %s', name, found)
                ELSE pg_catalog.format('column %I may be NULL', name) END
            FROM compared WHERE attname IS NULL OR is_other OR required AND NOT attnotnull LIMIT 10
            """, [object]
        ).map { $0.text(0) }
    }

    private func differences(
        _ rules: [ExistingObject.Rule], of object: String, _ session: borrowing Session
    ) throws -> [String] {
        try ExistingRuleCheck(rules: rules, object: object, owner: surroundings.owner)
            .differences(session)
    }

    private func missingParents(
        _ parents: [QualifiedName], _ object: String, _ session: borrowing Session
    ) throws -> [String] {
        try parents.filter { parent in
            try session.query(
                """
                SELECT FROM pg_catalog.pg_inherits
                WHERE inhrelid = $1::pg_catalog.oid AND inhparent = pg_catalog.to_regclass($2)
                """, [object, parent.quoted]
            ).isEmpty
        }.map { "it is no partition or child of \($0)" }
    }

    private func differs(_ what: String, advice: String = Self.advice) -> StatementFailure {
        StatementFailure(
            position: statement.position,
            error: .misuse("IF NOT EXISTS would pass this statement over, though \(what)"),
            own: .init(code: "object-differs", advice: advice))
    }
}
