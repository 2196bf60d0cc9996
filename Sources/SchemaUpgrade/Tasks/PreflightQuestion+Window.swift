// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What would stop the run in its window, or whom the window would stop.
extension PreflightQuestion {
    static let window: [PreflightQuestion] = [
        PreflightQuestion(
            severity: .error, code: "wraparound-vacuum",
            sql: """
                SELECT format('process %s vacuums to prevent wraparound, gives way to nobody, and keeps triggers from the table: %s',
                        pid, regexp_replace(query, '^autovacuum: ', '')),
                    'wait until it has ended (pg_stat_progress_vacuum), then start the run'
                FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'autovacuum worker'
                    AND query LIKE '%(to prevent wraparound)'
                """),
        PreflightQuestion(
            severity: .warning, code: "wraparound-vacuum",
            sql: """
                SELECT format('table %s is about to be vacuumed to prevent wraparound, which gives way to nobody', c.oid::regclass),
                    format('VACUUM (FREEZE) %s', c.oid::regclass)
                FROM pg_class AS c LEFT JOIN LATERAL (SELECT option_value::bigint AS own FROM pg_options_to_table(c.reloptions)
                    WHERE option_name = 'autovacuum_freeze_max_age') AS o ON true
                WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
                    AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                    AND age(c.relfrozenxid) > 0.98 * least(o.own, current_setting('autovacuum_freeze_max_age')::bigint)
                ORDER BY age(c.relfrozenxid) DESC
                """),
        PreflightQuestion(
            severity: .error, code: "event-trigger", level: .complete,
            sql: """
                SELECT format('event trigger %s fires on Sluice''s own statements too, because it is ENABLE ALWAYS', evtname),
                    format('ALTER EVENT TRIGGER %I ENABLE', evtname)
                FROM pg_event_trigger WHERE evtenabled = 'A' AND evtname NOT IN ('\(FenceSchema.eventTrigger)', '\(FencePass.eventTrigger)')
                    AND current_setting('event_triggers', true) IS NULL
                """),
        // One table is enough: the others are published, too.
        PreflightQuestion(
            severity: .error, code: "publication",
            sql: """
                SELECT format('publication %s is FOR ALL TABLES, and so would send Sluice''s own tables to its subscribers, '
                        'which stop at the first they do not have', p.pubname),
                    format('name the schemas instead: BEGIN; DROP PUBLICATION %1$I; CREATE PUBLICATION %1$I FOR %2$s; COMMIT', p.pubname,
                        CASE WHEN current_setting('server_version_num')::integer >= 150000 THEN 'TABLES IN SCHEMA ' || s.list
                        ELSE 'TABLE …' END)
                        || '; or have the schema sluice on each subscriber (pg_dump -s -n sluice) before its tables are there'
                FROM pg_publication AS p, (SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') AS list
                    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname NOT IN \(FenceSchema.foreignSchemas)) AS s
                WHERE p.puballtables AND s.list IS NOT NULL
                    AND NOT EXISTS (SELECT FROM pg_class AS k JOIN pg_namespace AS o ON o.oid = k.relnamespace
                        WHERE o.nspname = 'sluice' AND k.relname = 'epoch')
                """),
        PreflightQuestion(
            severity: .warning, code: "session-table", isAnsweredByHeldSessions: true,
            sql: """
                SELECT format('table %s looks like one that page views write to (%s writes so far): while the fence is up, they get 25006',
                        c.oid::regclass, pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid)),
                    'let the application serve such a page without its session, or let the plan hold the reads of who has one (reads.sessions)'
                FROM pg_class AS c WHERE c.relkind IN ('r', 'p')
                    AND c.relname ~* '^(django_session|(ci_|http_|user_|web_|app_|spring_|flask_)?sessions?)$'
                    AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                UNION ALL \(writtenColumns("last_(seen|active|activity|request|access|visit)(_at|_on)?",
                    advice: "let the application serve such a page without writing, or let the plan hold the reads of who has a session (reads.sessions)"))
                """),
        // Of everybody, with a session or without.
        PreflightQuestion(
            severity: .warning, code: "session-table",
            sql: writtenColumns(
                "(page_?)?views?_count|hit_?count",
                advice: "let the application serve such a page without writing")),
        PreflightQuestion(
            severity: .warning, code: "connection-limit",
            sql: connectionLimits),
        PreflightQuestion(
            severity: .warning, code: "pooler-behind",
            sql: """
                SELECT format('a pooler seems to stand before this database (%s): its connections outlive the window, and have plans and '
                        'settings of the old schema', string_agg(DISTINCT sign, ', ')),
                    'renew them by a hook after the migration (RECONNECT on the pooler''s console, as in docs/pooler.md), or let the plan '
                        'end them before writes open: `drain: {sessions: end}`'
                FROM (SELECT format('role %s', rolname) AS sign FROM pg_roles
                    WHERE rolcanlogin AND rolname ~* '^(pgbouncer|pgpool|odyssey|pgcat|supavisor|rds_?proxy|rdsproxyadmin)'
                    UNION ALL SELECT format('schema %s', nspname) FROM pg_namespace WHERE nspname IN ('pgbouncer', 'pgpool', 'odyssey')
                    UNION ALL SELECT format('function %s', oid::regprocedure) FROM pg_proc
                    WHERE proname IN ('user_lookup', 'get_auth', 'user_search', 'pgbouncer_auth') AND prosecdef
                    UNION ALL SELECT format('%s sessions of role %s whose last statement was DISCARD ALL', count(*), usename)
                    FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query ~* '^discard all'
                    GROUP BY usename) AS signs
                HAVING count(*) > 0
                """),
    ]

    /// Columns of such a name that have been written to since statistics began.
    private static func writtenColumns(_ names: String, advice: String) -> String {
        """
        SELECT format('column %s.%s looks like one that page views write to: while the fence is up, they get 25006',
                c.oid::regclass, quote_ident(a.attname)), '\(advice)'
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid WHERE c.relkind IN ('r', 'p')
            AND a.attnum > 0 AND NOT a.attisdropped AND NOT c.relispartition AND a.attname ~* '^(\(names))$'
            AND pg_stat_get_tuples_updated(c.oid) > 0
            AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
        """
    }

    /// A new release that is warmed beside the old one opens as many connections again.
    private static let connectionLimits = """
        WITH client AS (SELECT usesysid, datid FROM pg_stat_activity WHERE backend_type = 'client backend'
                AND pid <> pg_backend_pid()),
            here AS (SELECT count(*) AS used FROM client WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND usesysid NOT IN (SELECT oid FROM pg_roles WHERE rolsuper)),
            room AS (SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
                - coalesce(current_setting('reserved_connections', true)::integer, 0) AS most, (SELECT count(*) FROM client) AS used)
        SELECT format('%s of the server''s %s connections are in use, %s of them of this database: a new release that is warmed beside '
                'the old one may find none', room.used, room.most, here.used),
            'smaller pools for the time of the run, or ALTER SYSTEM SET max_connections and a restart'
        FROM room, here WHERE here.used > 0 AND room.used + here.used > room.most
        UNION ALL SELECT format('role %s may have %s connections, and has %s: a new release that is warmed beside the old one may find none',
                r.rolname, r.rolconnlimit, c.used),
            format('ALTER ROLE %I CONNECTION LIMIT %s', r.rolname, 2 * r.rolconnlimit)
        FROM pg_roles AS r JOIN (SELECT usesysid, count(*) AS used FROM client GROUP BY 1) AS c ON c.usesysid = r.oid
        WHERE r.rolconnlimit >= 0 AND NOT r.rolsuper AND 2 * c.used > r.rolconnlimit
        UNION ALL SELECT format('database %s may have %s connections, and has %s: a new release that is warmed beside the old one may find '
                'none', d.datname, d.datconnlimit, here.used),
            format('ALTER DATABASE %I CONNECTION LIMIT %s', d.datname, 2 * d.datconnlimit)
        FROM pg_database AS d, here WHERE d.datname = current_database() AND d.datconnlimit >= 0 AND 2 * here.used > d.datconnlimit
        """

    /// Whether what the migrator sends can be read on its way.
    ///
    /// - Parameter isInClear: it leaves this machine, and is not encrypted.
    static func transport(isInClear: Bool, mayBe: Bool) -> [Diagnostic] {
        guard isInClear else { return [] }
        return [
            Diagnostic(
                mayBe ? .warning : .error, code: "clear-text",
                "the connection to the database leaves this machine without encryption, with the migrator's password and all migrations",
                advice:
                    "let the server have TLS, and put sslmode=verify-full into the address; on a network that you trust, write `tls: optional` into the plan's `database`"
            )
        ]
    }
}
