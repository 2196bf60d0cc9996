// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// Looks at what migrations have created, in their transaction: is it in the right place, and may anybody use it?
struct NewObjects: Sendable {
    /// The relations that were there before, and what was in the schema `sluice`, as arrays of object numbers.
    private var relations: String
    private var own: String

    private static let snapshot = """
        SELECT (SELECT coalesce(array_agg(oid), '{}') FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')),
            (SELECT coalesce(array_agg(oid), '{}') FROM (\(inOwnSchema)) AS o)
        """
    private static let inOwnSchema = """
        SELECT oid FROM pg_class WHERE relnamespace = 'sluice'::regnamespace
        UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = 'sluice'::regnamespace
        UNION ALL SELECT oid FROM pg_type WHERE typnamespace = 'sluice'::regnamespace
        """

    /// Roles that log in, are no superusers, and had rights on the application's relations before. Who may read or write
    /// everything by a role of PostgreSQL's own (a backup, a monitor) says nothing about the application.
    private static let applications = """
        SELECT r.oid FROM pg_roles AS r WHERE r.rolcanlogin AND NOT r.rolsuper
            AND r.rolname <> session_user AND NOT pg_has_role(r.oid, 'pg_read_all_data', 'USAGE') AND NOT pg_has_role(r.oid, 'pg_write_all_data', 'USAGE')
            AND EXISTS (
            SELECT FROM pg_class AS c WHERE c.oid IN (SELECT unnest($1::oid[])) AND c.relkind IN ('r', 'p', 'v', 'm')
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                AND (c.relacl IS NOT NULL OR c.relowner = r.oid)
                AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE'))
        """

    init(_ session: borrowing Session) throws {
        let row = try session.query(NewObjects.snapshot)[0]
        relations = row.text(0)
        own = row.text(1)
    }

    /// - Parameter isWhole: everything that belongs together has run; where a file runs statement by statement, its `GRANT` for
    ///   one of several roles may be still to come.
    /// - Returns: what is worth saying and stops nobody.
    /// - Throws: `migration-place` or `migration-rights`, naming the objects and the statement that mends it.
    @discardableResult
    func check(
        _ session: borrowing Session, except privateRelations: Set<String>, isWhole: Bool = true
    ) throws -> [String] {
        let strays = try session.query(
            """
            SELECT coalesce(c.oid::regclass::text, p.oid::regprocedure::text, t.oid::regtype::text)
            FROM (\(NewObjects.inOwnSchema)) AS o LEFT JOIN pg_class AS c ON c.oid = o.oid
                LEFT JOIN pg_proc AS p ON p.oid = o.oid LEFT JOIN pg_type AS t ON t.oid = o.oid
            WHERE o.oid NOT IN (SELECT unnest($1::oid[])) ORDER BY 1 LIMIT 20
            """, [own])
        if !strays.isEmpty {
            throw DatabaseFailure(
                code: "migration-place",
                "the migrations have created in Sluice's own schema: "
                    + strays.map { $0.text(0) }.joined(separator: ", "),
                advice: "name the application's schema in the migration, or in database.search_path"
            )
        }
        // Most migrations create none, and who may do what takes time in the window.
        if try session.query(NewObjects.anyCreated, [relations]).isEmpty { return [] }
        try checkRights(session, except: privateRelations, isWhole: isWhole)
        guard isWhole else { return [] }
        return try session.query(NewObjects.excluded, [relations, "INSERT"]).filter {
            !isPrivate($0, privateRelations)
        }.map {
            "role \($0.text(3)) may write to every older table of schema \($0.text(4)), and only read \($0.text(0)); "
                + "if it is to write there: \($0.text(1))"
        }
    }

    private func isPrivate(_ row: Rows.Row, _ privateRelations: Set<String>) -> Bool {
        privateRelations.contains(row.text(2)) || privateRelations.contains(row.text(0))
    }

    private func checkRights(
        _ session: borrowing Session, except privateRelations: Set<String>, isWhole: Bool
    ) throws {
        let excluded =
            !isWhole
            ? []
            : try session.query(NewObjects.excluded, [relations, "ANY"]).filter {
                !isPrivate($0, privateRelations)
            }
        let named = Set(excluded.map { $0.text(0) })
        let unusable = try session.query(NewObjects.unusable, [relations]).filter {
            !isPrivate($0, privateRelations)
        }
        if unusable.isEmpty, excluded.isEmpty { return }
        var reasons: [String] = []
        if !unusable.isEmpty {
            reasons.append(
                "no role of the application may use what the migrations have created: "
                    + unusable.map { $0.text(0) }.joined(separator: ", "))
        }
        let usable = Set(unusable.map { $0.text(0) })
        reasons += excluded.filter { !usable.contains($0.text(0)) }.map {
            "role \($0.text(3)) may use every older table of schema \($0.text(4)) that belongs to \($0.text(5)), "
                + "and not the new \($0.text(0))"
        }
        let rows = unusable.filter { !named.contains($0.text(0)) } + excluded
        var names: [String] = []
        for row in rows where !names.contains(row.text(2)) { names.append(row.text(2)) }
        throw DatabaseFailure(
            code: "migration-rights", reasons.joined(separator: "; "),
            advice: "write into the migration: "
                + rows.map { $0.text(1) }.joined(separator: "; ")
                + "; or say that it is meant so: -- sluice: private=" + names.joined(separator: ",")
        )
    }

    private static let anyCreated = """
        SELECT FROM pg_class AS c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
            AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
            AND c.oid NOT IN (SELECT unnest($1::oid[])) LIMIT 1
        """

    /// New relations that no application may use, each with the statement that mends it and its bare name.
    ///
    /// A sequence that belongs to a column is judged by its table: who may insert there has to draw from it. Identity columns
    /// need no right.
    private static let unusable = """
        WITH application AS MATERIALIZED (\(applications)),
        created AS MATERIALIZED (
            SELECT c.oid, c.relname, c.relkind FROM pg_class AS c
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                AND NOT c.relispartition AND c.oid NOT IN (SELECT unnest($1::oid[]))),
        somebody AS (SELECT a.oid, quote_ident(r.rolname) AS name FROM application AS a JOIN pg_roles AS r USING (oid)
            ORDER BY r.rolname LIMIT 1)
        SELECT c.oid::regclass::text, format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s', c.oid::regclass, s.name),
            c.relname
        FROM created AS c, somebody AS s
        WHERE c.relkind <> 'S' AND NOT EXISTS (SELECT FROM application AS a
            WHERE has_table_privilege(a.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
                OR has_any_column_privilege(a.oid, c.oid, 'SELECT, INSERT, UPDATE'))
        UNION ALL SELECT c.oid::regclass::text, format('GRANT USAGE ON SEQUENCE %s TO %s', c.oid::regclass, s.name), c.relname
        FROM created AS c LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'), somebody AS s
        WHERE c.relkind = 'S' AND d.deptype IS DISTINCT FROM 'i'
            AND NOT EXISTS (SELECT FROM application AS a WHERE has_sequence_privilege(a.oid, c.oid, 'USAGE, UPDATE, SELECT'))
            AND (d.refobjid IS NULL OR EXISTS (SELECT FROM application AS a
                WHERE has_table_privilege(a.oid, d.refobjid, 'INSERT')))
        ORDER BY 1 LIMIT 20
        """

    private static let use = "SELECT, INSERT, UPDATE, DELETE"

    private static func mayUse(_ role: String, _ table: String) -> String {
        """
        (has_table_privilege(\(role), \(table), '\(use)') OR has_any_column_privilege(\(role), \(table), 'SELECT, INSERT, UPDATE'))
        """
    }

    /// New tables and views that a role may not use although it may use all the older ones of the same schema and owner
    /// (`ANY`), or not write to although it may write to all of those (`INSERT`): each with the statement that mends it, its
    /// bare name, the role, the schema and the owner. What the role holds on all of the older ones is what it is to get.
    private static let excluded = """
        WITH application AS MATERIALIZED (\(applications)),
        relation AS MATERIALIZED (
            SELECT c.oid, c.relname, c.relnamespace, c.relowner, c.oid IN (SELECT unnest($1::oid[])) AS is_old
            FROM pg_class AS c
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND NOT c.relispartition
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')),
        created AS (SELECT * FROM relation WHERE NOT is_old),
        held AS MATERIALIZED (
            SELECT o.relnamespace, o.relowner, a.oid AS role, bool_and(\(mayUse("a.oid", "o.oid"))) AS uses,
                bool_and(has_table_privilege(a.oid, o.oid, 'SELECT')) AS reads,
                bool_and(has_table_privilege(a.oid, o.oid, 'INSERT')) AS inserts,
                bool_and(has_table_privilege(a.oid, o.oid, 'UPDATE')) AS updates,
                bool_and(has_table_privilege(a.oid, o.oid, 'DELETE')) AS deletes
            FROM relation AS o CROSS JOIN application AS a
            WHERE o.is_old AND (o.relnamespace, o.relowner) IN (SELECT relnamespace, relowner FROM created)
            GROUP BY 1, 2, 3)
        SELECT c.oid::regclass::text, format('GRANT %s ON %s TO %s', CASE WHEN reads OR inserts OR updates OR deletes
                THEN concat_ws(', ', CASE WHEN reads THEN 'SELECT' END, CASE WHEN inserts THEN 'INSERT' END,
                    CASE WHEN updates THEN 'UPDATE' END, CASE WHEN deletes THEN 'DELETE' END) ELSE 'SELECT' END,
                c.oid::regclass, h.role::regrole), c.relname, h.role::regrole::text, n.nspname, c.relowner::regrole::text
        FROM created AS c JOIN held AS h USING (relnamespace, relowner) JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE CASE $2 WHEN 'ANY' THEN h.uses AND NOT \(mayUse("h.role", "c.oid"))
            ELSE h.inserts AND has_table_privilege(h.role, c.oid, 'SELECT')
                AND NOT has_any_column_privilege(h.role, c.oid, 'INSERT')
                AND EXISTS (SELECT FROM pg_class AS t WHERE t.oid = c.oid AND t.relkind IN ('r', 'p', 'f')) END
        ORDER BY 1, 4 LIMIT 20
        """
}
