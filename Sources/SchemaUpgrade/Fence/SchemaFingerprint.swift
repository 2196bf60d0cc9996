// SPDX-License-Identifier: Apache-2.0

import PostgresClient

/// What the application's schema is, as one line for each object: its name and a digest of everything that is defined of it.
///
/// Two moments with the same lines have the same tables, columns, constraints, indexes, triggers, rules, policies, sequences,
/// types, functions, aggregates, rights, owners, schemas, extensions, publications, foreign servers, collations, text search
/// configurations, settings of the database and default privileges. The order of columns does not count, because no way back can
/// bring it back; nor do comments. What a fence has closed counts as what it will be after the lift.
struct SchemaFingerprint: Sendable, Equatable {
    /// Object to digest.
    var objects: [String: String]

    /// - Parameter lines: as ``lines`` gives them.
    init(lines: [String]) {
        objects = Dictionary(
            lines.map { line in
                (String(line.dropFirst(33)), String(line.prefix(32)))
            }, uniquingKeysWith: { first, _ in first })
    }

    /// Asks on a session that has nothing but `pg_catalog` in its search path.
    ///
    /// - Parameters:
    ///   - stored: how rights are read that a fence has taken; `nil` where the schema `sluice` is not there.
    init(_ session: borrowing Session, stored: String?) throws(PostgresError) {
        let nothing =
            "(SELECT NULL::text AS kind, NULL::oid AS object, NULL::text[] AS before WHERE false)"
        let question = SchemaFingerprint.question
        let asked =
            stored.map { question.replacing(SchemaFingerprint.storedRights, with: $0) }
            ?? question.replacing("sluice.stored", with: nothing)
        self.init(lines: try session.query(asked).map { $0.text(0) })
    }

    var lines: [String] { objects.map { "\($0.value) \($0.key)" }.sorted() }

    /// The objects that are not the same, for people.
    func differences(from before: SchemaFingerprint) -> [String] {
        let added = objects.keys.filter { before.objects[$0] == nil }.map { "\($0) is new" }
        let gone = before.objects.keys.filter { objects[$0] == nil }.map { "\($0) is gone" }
        let changed = objects.filter {
            before.objects[$0.key] != nil && before.objects[$0.key] != $0.value
        }.map { "\($0.key) is another" }
        return (added + gone + changed).sorted()
    }

    private static let application = """
        (SELECT oid FROM pg_namespace WHERE nspname NOT IN \(FenceSchema.foreignSchemas)
            AND nspname !~ '^pg_(toast_)?temp_')
        """

    /// A list of rights in one order, with the default where there is none.
    private static func rights(_ acl: String, _ kind: String, _ owner: String) -> String {
        """
        (SELECT string_agg(i::text, ',' ORDER BY i::text COLLATE "C")
            FROM unnest(coalesce(\(acl), acldefault('\(kind)', \(owner)))) AS i)
        """
    }

    /// How rights are read that a fence has taken.
    static let storedRights = "s.before::aclitem[]"

    private static let relationRights = rights(
        "CASE WHEN s.object IS NULL THEN c.relacl ELSE \(storedRights) END",
        "r", "c.relowner")
    private static let sequenceRights = rights(
        "CASE WHEN s.object IS NULL THEN c.relacl ELSE \(storedRights) END",
        "s", "c.relowner")
    private static let functionRights = rights(
        "CASE WHEN s.object IS NULL THEN p.proacl ELSE \(storedRights) END",
        "f", "p.proowner")

    private static let facts = """
        relation AS MATERIALIZED (SELECT * FROM pg_class WHERE relnamespace IN \(application)
            AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')),
        fact (kind, oid, fact) AS (
            SELECT 'relation', c.oid, concat_ws(' ', c.relkind, c.relowner::regrole, c.relpersistence, c.relrowsecurity,
                c.relforcerowsecurity, c.reloptions, c.relreplident, c.relispartition,
                pg_get_expr(c.relpartbound, c.oid), CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
                CASE WHEN c.relkind = 'S' THEN \(sequenceRights) ELSE \(relationRights) END)
            FROM relation AS c LEFT JOIN sluice.stored AS s ON s.kind = 'relation' AND s.object = c.oid
            UNION ALL SELECT 'relation', a.attrelid, concat_ws(' ', 'column', a.attname, format_type(a.atttypid, a.atttypmod),
                a.attnotnull, a.attidentity, a.attgenerated, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid),
                a.attacl, a.attstattarget, a.attstorage, a.attcompression, a.attoptions, a.attfdwoptions)
            FROM pg_attribute AS a JOIN relation AS c ON c.oid = a.attrelid
                LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'S'
            UNION ALL SELECT 'relation', k.conrelid, concat_ws(' ', k.conname, k.contype, k.convalidated,
                pg_get_constraintdef(k.oid))
            FROM pg_constraint AS k JOIN relation AS c ON c.oid = k.conrelid WHERE k.contype <> 'n'
            UNION ALL SELECT 'relation', x.indrelid, concat_ws(' ', pg_get_indexdef(x.indexrelid), x.indisvalid,
                x.indisclustered, x.indisreplident)
            FROM pg_index AS x JOIN relation AS c ON c.oid = x.indrelid
            UNION ALL SELECT 'relation', t.tgrelid, concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
            FROM pg_trigger AS t JOIN relation AS c ON c.oid = t.tgrelid
            WHERE NOT t.tgisinternal AND t.tgname <> '\(FenceSchema.trigger)'
            UNION ALL SELECT 'relation', r.ev_class, concat_ws(' ', r.ev_enabled, pg_get_ruledef(r.oid))
            FROM pg_rewrite AS r JOIN relation AS c ON c.oid = r.ev_class
            UNION ALL SELECT 'relation', p.polrelid, concat_ws(' ', p.polname, p.polcmd, p.polpermissive,
                p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
            FROM pg_policy AS p JOIN relation AS c ON c.oid = p.polrelid
            UNION ALL SELECT 'relation', i.inhrelid, concat_ws(' ', 'of', i.inhparent::regclass)
            FROM pg_inherits AS i JOIN relation AS c ON c.oid = i.inhrelid
            UNION ALL SELECT 'relation', q.seqrelid, concat_ws(' ', q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqmax,
                q.seqmin, q.seqcycle, (SELECT min(a.attrelid::regclass || '.' || a.attname) FROM pg_depend AS d
                    JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = q.seqrelid AND d.deptype IN ('a', 'i')))
            FROM pg_sequence AS q JOIN relation AS c ON c.oid = q.seqrelid
            UNION ALL SELECT 'relation', f.ftrelid, concat_ws(' ', s.srvname, f.ftoptions)
            FROM pg_foreign_table AS f JOIN pg_foreign_server AS s ON s.oid = f.ftserver JOIN relation AS c ON c.oid = f.ftrelid
            UNION ALL SELECT 'relation', e.stxrelid, pg_get_statisticsobjdef(e.oid)
            FROM pg_statistic_ext AS e JOIN relation AS c ON c.oid = e.stxrelid
            UNION ALL SELECT 'function', p.oid, concat_ws(' ', p.proowner::regrole, l.lanname, p.prokind, p.prosecdef,
                p.proleakproof, p.proisstrict, p.proretset, p.provolatile, p.proparallel, p.prorettype::regtype,
                pg_get_function_arguments(p.oid), p.proconfig, pg_get_function_sqlbody(p.oid),
                coalesce(b.before[1], p.prosrc), p.probin, \(functionRights))
            FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
                LEFT JOIN sluice.stored AS s ON s.kind = 'function' AND s.object = p.oid
                LEFT JOIN sluice.stored AS b ON b.kind = 'body' AND b.object = p.oid
            WHERE p.pronamespace IN \(application)
            UNION ALL SELECT 'function', p.oid, concat_ws(' ', g.aggkind, g.aggtransfn, g.aggfinalfn, g.aggcombinefn,
                g.aggtranstype::regtype, g.aggsortop::regoperator, g.agginitval)
            FROM pg_aggregate AS g JOIN pg_proc AS p ON p.oid = g.aggfnoid WHERE p.pronamespace IN \(application)
            UNION ALL SELECT 'type', t.oid, concat_ws(' ', t.typowner::regrole, t.typtype, t.typnotnull, t.typdefault,
                format_type(t.typbasetype, t.typtypmod), t.typcollation::regcollation,
                (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid),
                (SELECT string_agg(k.conname || pg_get_constraintdef(k.oid), ',' ORDER BY k.conname) FROM pg_constraint AS k
                    WHERE k.contypid = t.oid AND k.contype <> 'n'),
                \(rights("t.typacl", "T", "t.typowner")))
            FROM pg_type AS t WHERE t.typnamespace IN \(application) AND t.typtype <> 'c' AND t.typelem = 0),
        line (name, fact) AS (
            SELECT CASE kind WHEN 'relation' THEN (SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view'
                    WHEN 'm' THEN 'materialized view' WHEN 'c' THEN 'type' ELSE 'table' END FROM pg_class AS c
                    WHERE c.oid = fact.oid) ELSE kind END || ' ' || CASE kind WHEN 'relation' THEN oid::regclass::text
                WHEN 'function' THEN oid::regprocedure::text ELSE oid::regtype::text END, fact
            FROM fact
            UNION ALL SELECT format('schema %I', n.nspname), concat_ws(' ', n.nspowner::regrole,
                \(rights("n.nspacl", "n", "n.nspowner")))
            FROM pg_namespace AS n WHERE n.oid IN \(application)
            UNION ALL SELECT format('extension %I', extname), extversion FROM pg_extension
            UNION ALL SELECT format('event trigger %I', evtname), concat_ws(' ', evtevent, evtenabled, evtfoid::regproc, evttags)
            FROM pg_event_trigger WHERE evtname NOT IN ('\(FenceSchema.eventTrigger)', '\(FencePass.eventTrigger)')
            UNION ALL SELECT format('default privileges of %s', defaclrole::regrole), concat_ws(' ', defaclnamespace::regnamespace,
                defaclobjtype, defaclacl) FROM pg_default_acl
            \(outsideOfSchemas))
        """

    /// What belongs to the database and to no table; rows as JSON where columns differ between versions of PostgreSQL.
    private static let outsideOfSchemas = """
        UNION ALL SELECT format('publication %I', p.pubname), concat_ws(' ', p.pubowner::regrole, to_jsonb(p) - 'oid' - 'pubowner',
                CASE WHEN NOT p.puballtables THEN (SELECT string_agg(to_jsonb(t)::text, ' ' ORDER BY t.schemaname, t.tablename)
                    FROM pg_publication_tables AS t WHERE t.pubname = p.pubname) END)
            FROM pg_publication AS p
            UNION ALL SELECT format('server %I', s.srvname), concat_ws(' ', s.srvowner::regrole, s.srvtype, s.srvversion,
                s.srvoptions, \(rights("s.srvacl", "S", "s.srvowner")))
            FROM pg_foreign_server AS s
            UNION ALL SELECT format('collation %s', c.oid::regcollation), concat_ws(' ', c.collowner::regrole,
                to_jsonb(c) - 'oid' - 'collnamespace' - 'collowner')
            FROM pg_collation AS c WHERE c.collnamespace IN \(application)
            UNION ALL SELECT format('text search configuration %s', c.oid::regconfig), concat_ws(' ', c.cfgowner::regrole,
                (SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict::regdictionary), ','
                    ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map AS m WHERE m.mapcfg = c.oid))
            FROM pg_ts_config AS c WHERE c.cfgnamespace IN \(application)
            UNION ALL SELECT CASE WHEN d.setrole = 0 THEN 'settings of the database'
                    ELSE format('settings of %s in the database', d.setrole::regrole) END,
                (SELECT string_agg(v, ' ' ORDER BY v COLLATE "C") FROM unnest(d.setconfig) AS v
                    WHERE v !~ '^default_transaction_read_only=')
            FROM pg_db_role_setting AS d WHERE d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND EXISTS (SELECT FROM unnest(d.setconfig) AS v WHERE v !~ '^default_transaction_read_only=')
        """

    /// 32 digits, a space, and the object.
    static let question = """
        WITH \(facts)
        SELECT left(encode(sha256(convert_to(string_agg(fact, chr(10) ORDER BY fact COLLATE "C"), 'UTF8')), 'hex'), 32)
            || ' ' || name
        FROM line GROUP BY name ORDER BY name COLLATE "C"
        """
}
