// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient

/// Defaults, checks and keys of a statement with `IF NOT EXISTS`, held against those of the table that is there. It may have more.
///
/// Names are compared as such. Expressions are compared as PostgreSQL writes them; where it would not take one there, because somebody's
/// function says no, nothing is said of expressions.
struct ExistingRuleCheck {
    let rules: [ExistingObject.Rule]
    /// The table's number.
    let object: String
    let owner: String?

    /// In words, what is other than the rules say.
    func differences(_ session: borrowing Session) throws -> [String] {
        var found: [String] = []
        for rule in rules {
            if let difference = try difference(rule, session) { found.append(difference) }
        }
        return found + (try expressions(session))
    }

    private func difference(_ rule: ExistingObject.Rule, _ session: borrowing Session) throws
        -> String?
    {
        switch rule {
        case .standard, .check: return nil
        case .numbered(let column):
            let isNumbered = try session.query(
                """
                SELECT FROM pg_catalog.pg_attribute WHERE attrelid = $1::pg_catalog.oid AND attname = $2
                    AND (atthasdef OR attidentity <> '')
                """, [object, column])
            return isNumbered.isEmpty ? "column \(column) draws no number" : nil
        case .key(let columns, let isPrimary):
            let keys = try session.query(
                """
                SELECT FROM pg_catalog.pg_index AS x WHERE x.indrelid = $1::pg_catalog.oid AND x.indisunique AND x.indisvalid
                    AND x.indpred IS NULL AND x.indexprs IS NULL AND (x.indisprimary OR NOT \(isPrimary))
                    AND (SELECT pg_catalog.array_agg(a.attname ORDER BY a.attname) FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid = x.indrelid
                            AND a.attnum = ANY ((x.indkey::pg_catalog.int2[])[0:x.indnkeyatts - 1]))
                        = (SELECT pg_catalog.array_agg(n ORDER BY n) FROM pg_catalog.unnest($2::pg_catalog.name[]) AS n)
                """, [object, array(columns)])
            let kind = isPrimary ? "primary" : "unique"
            return keys.isEmpty ? "there is no \(kind) key (\(list(columns)))" : nil
        case .reference(let columns, let table, let others, let onUpdate, let onDelete):
            let keys = try session.query(
                """
                SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = $1::pg_catalog.oid AND k.contype = 'f'
                    AND k.confrelid = pg_catalog.to_regclass($2) AND k.confupdtype = $5::"char" AND k.confdeltype = $6::"char"
                    AND \(Self.columnNames("k.conrelid", "k.conkey")) = $3::pg_catalog.name[]
                    AND CASE WHEN pg_catalog.cardinality($4::pg_catalog.name[]) > 0
                        THEN \(Self.columnNames("k.confrelid", "k.confkey")) = $4::pg_catalog.name[]
                        ELSE EXISTS (SELECT FROM pg_catalog.pg_index AS x WHERE x.indexrelid = k.conindid AND x.indisprimary) END
                """,
                [object, table.quoted, array(columns), array(others), onUpdate, onDelete])
            return keys.isEmpty
                ? "there is no such foreign key (\(list(columns))) to \(table)" : nil
        }
    }

    private static func columnNames(_ table: String, _ numbers: String) -> String {
        """
        (SELECT pg_catalog.array_agg(a.attname ORDER BY u.n) FROM pg_catalog.unnest(\(numbers)) WITH ORDINALITY AS u (number, n)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = \(table) AND a.attnum = u.number)
        """
    }

    private func expressions(_ session: borrowing Session) throws -> [String] {
        let hasAny = rules.contains {
            switch $0 {
            case .standard, .check: true
            case .numbered, .key, .reference: false
            }
        }
        guard hasAny else { return [] }
        let name = try session.query(
            """
            SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = $1::pg_catalog.oid
            """, [object])[0].text(0)
        do {
            return try TableProbe(table: name, owner: owner).probing(session) { session in
                try rules.compactMap { try difference(ofExpression: $0, session) }
            }
        } catch let error as PostgresError {
            guard case .server = error, !error.isLockTimeout, error.sqlState != "57014" else {
                throw error
            }
            return []
        }
    }

    private func difference(
        ofExpression rule: ExistingObject.Rule, _ session: borrowing Session
    ) throws -> String? {
        let probe = IndexDefinition.probe
        switch rule {
        case .numbered, .key, .reference: return nil
        case .standard(let column, let expression):
            try session.execute(
                "ALTER TABLE \(probe) ALTER COLUMN \(quotedIdentifier(column)) SET DEFAULT \(expression)"
            )
            let row = try session.query(
                """
                SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.pg_get_expr(p.adbin, p.adrelid)
                FROM pg_catalog.pg_attribute AS a
                    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                    LEFT JOIN pg_catalog.pg_attribute AS b ON b.attrelid = '\(probe)'::pg_catalog.regclass
                        AND b.attname = a.attname
                    LEFT JOIN pg_catalog.pg_attrdef AS p ON p.adrelid = b.attrelid AND p.adnum = b.attnum
                WHERE a.attrelid = $1::pg_catalog.oid AND a.attname = $2
                """, [object, column]
            ).first
            guard let row, row[0] != row[1] else { return nil }
            return "column \(column) has "
                + (row[0].map { "the default \($0)" } ?? "no default")
        case .check(let expression):
            try session.execute(
                "ALTER TABLE \(probe) ADD CONSTRAINT \"sluice probe check\" CHECK \(expression)")
            let isThere = try session.query(
                """
                SELECT FROM pg_catalog.pg_constraint AS k, pg_catalog.pg_constraint AS p
                WHERE k.conrelid = $1::pg_catalog.oid AND k.contype = 'c'
                    AND p.conrelid = '\(probe)'::pg_catalog.regclass AND p.conname = 'sluice probe check'
                    AND pg_catalog.pg_get_expr(k.conbin, k.conrelid) = pg_catalog.pg_get_expr(p.conbin, p.conrelid)
                """, [object])
            try session.execute(
                "ALTER TABLE \(probe) DROP CONSTRAINT \"sluice probe check\"")
            return isThere.isEmpty ? "there is no check \(expression)" : nil
        }
    }

    private func list(_ columns: [String]) -> String { columns.joined(separator: ", ") }

    private func array(_ columns: [String]) -> String {
        let items = columns.map {
            "\"" + $0.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
        }
        return "{\(items.joined(separator: ","))}"
    }
}
