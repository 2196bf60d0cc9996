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
            AND NOT pg_has_role(r.oid, 'pg_read_all_data', 'USAGE') AND NOT pg_has_role(r.oid, 'pg_write_all_data', 'USAGE')
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

    /// - Throws: `migration-place` or `migration-rights`, naming the objects and the statement that mends it.
    func check(_ session: borrowing Session, except privateRelations: Set<String>) throws {
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
        let unusable = try session.query(NewObjects.unusable, [relations]).filter {
            !privateRelations.contains($0.text(2)) && !privateRelations.contains($0.text(0))
        }
        if unusable.isEmpty { return }
        throw DatabaseFailure(
            code: "migration-rights",
            "no role of the application may use what the migrations have created: "
                + unusable.map { $0.text(0) }.joined(separator: ", "),
            advice: "write into the migration: "
                + unusable.map { $0.text(1) }.joined(separator: "; ")
                + "; or say that it is meant so: -- sluice: private="
                + unusable.map { $0.text(2) }.joined(separator: ","))
    }

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
}
