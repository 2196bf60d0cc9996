// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What is asked of a standby, and of its primary about it.
extension PreflightQuestion {
    /// Programs that would start, promote or reconfigure a server behind Sluice's back, by the names of their sessions.
    private static let managers =
        "(patroni|repmgr|pg_?auto_?(failover|ctl)|stolon|cnpg|cloudnative|pacemaker|paf|efm|clustercontrol)"

    /// Both servers are asked: an agent connects to the one that it is beside.
    ///
    /// - Parameter isManaged: whether the plan names Patroni.
    private static func manager(isManaged: Bool) -> PreflightQuestion {
        PreflightQuestion(
            severity: .error, code: "standby-manager",
            sql: """
                SELECT format('a cluster manager looks after this server (%s): it would undo the freeze, or promote a server by itself',
                        string_agg(DISTINCT sign, ', ')),
                    'Patroni: name its REST API in the plan, `database: {standby: {manager: {patroni: env:NAME}}}`; another one: give a '
                        'standby that it does not know, or take `standby` out of the plan''s `database`'
                FROM (SELECT format('session %s', application_name) AS sign FROM pg_stat_activity WHERE application_name ~* '^\(managers)'
                    UNION ALL SELECT format('schema %s', nspname) FROM pg_namespace WHERE nspname ~* '^(repmgr|pgautofailover)$'
                    UNION ALL SELECT format('database %s', datname) FROM pg_database WHERE datname ~* '^(repmgr|pg_auto_failover)$'
                    UNION ALL SELECT format('file %s', sourcefile) FROM pg_file_settings WHERE sourcefile ~ 'postgresql[.]base[.]conf$'
                        OR sourcefile ~ 'postgresql-auto-failover'
                    UNION ALL SELECT format('role %s', rolname) FROM pg_roles
                        WHERE rolname ~ '^(rdsadmin|cloudsqladmin|azuresu|alloydbadmin|repmgr|pgautofailover_replicator|streaming_replica)$') AS s
                WHERE NOT (\(isManaged) AND sign ~* '^(session patroni|file .*postgresql[.]base[.]conf$)')
                HAVING count(*) > 0
                """)
    }

    static func standby(isManaged: Bool) -> [PreflightQuestion] {
        [manager(isManaged: isManaged)] + ofStandby
    }

    private static let ofStandby: [PreflightQuestion] = [
        PreflightQuestion(
            severity: .error, code: "standby-cascades",
            sql: """
                SELECT format('another standby streams from this one (%s): it would stand still with it, and follow a promotion',
                        string_agg(DISTINCT application_name, ', ')),
                    'let it stream from the primary, or give the plan a standby that nobody streams from'
                FROM pg_stat_replication HAVING count(*) > 0
                """),
        PreflightQuestion(
            severity: .error, code: "standby-paused",
            sql: """
                SELECT 'replay is paused on the standby', 'on the standby: SELECT pg_wal_replay_resume()'
                WHERE pg_is_wal_replay_paused()
                UNION ALL SELECT format('the standby is kept behind on purpose: recovery_min_apply_delay is %s',
                        current_setting('recovery_min_apply_delay')),
                    'on the standby: ALTER SYSTEM SET recovery_min_apply_delay = 0, and SELECT pg_reload_conf(); or give the plan another standby'
                FROM pg_settings WHERE name = 'recovery_min_apply_delay' AND setting <> '0'
                """),
        PreflightQuestion(
            severity: .error, code: "standby-settings",
            sql: """
                SELECT format('%s of the standby comes from its %s, which ALTER SYSTEM does not overrule', name, source),
                    'set it in postgresql.conf or by ALTER SYSTEM, and not where the server is started'
                FROM pg_settings WHERE name IN ('primary_conninfo', 'restore_command') AND source NOT IN ('configuration file', 'default')
                UNION ALL SELECT 'allow_alter_system is off on the standby', 'turn it on for the time of the run'
                FROM pg_settings WHERE name = 'allow_alter_system' AND setting = 'off'
                """),
        PreflightQuestion(
            severity: .error, code: "standby-synchronous",
            sql: """
                SELECT format('the standby itself has synchronous_standby_names = %L: once it is the primary, its commits wait for those', setting),
                    'on the standby: ALTER SYSTEM SET synchronous_standby_names = '''', and SELECT pg_reload_conf()'
                FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting <> ''
                """),
        PreflightQuestion(
            severity: .warning, code: "standby-readers",
            sql: """
                SELECT format('%s sessions read on the standby already: while it is frozen they see the old state, and when it is fed '
                        'again, a query that is in the way for longer than max_standby_streaming_delay (%s) is cancelled',
                        count(*), current_setting('max_standby_streaming_delay')),
                    'give the plan a standby of its own, or let them read elsewhere for the time of the run'
                FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                    AND datname = current_database() AND NOT starts_with(application_name, 'sluice')
                HAVING count(*) > 0
                """),
        PreflightQuestion(
            severity: .warning, code: "standby-conflicts",
            sql: """
                SELECT format('replay on the standby waits for queries in its way %s (max_standby_streaming_delay): the freeze, inside the '
                        'window, would wait with it', CASE setting WHEN '-1' THEN 'for ever'
                        ELSE 'for ' || (setting::bigint / 1000) || ' s' END),
                    'on the standby: ALTER SYSTEM SET max_standby_streaming_delay = ''10s'', and SELECT pg_reload_conf()'
                FROM pg_settings WHERE name = 'max_standby_streaming_delay' AND (setting = '-1' OR setting::bigint > 30000)
                """),
        PreflightQuestion(
            severity: .warning, code: "standby-read-only",
            sql: """
                SELECT 'the standby has default_transaction_read_only = on: once it is the primary, the application could not write',
                    'on the standby: ALTER SYSTEM RESET default_transaction_read_only, and SELECT pg_reload_conf()'
                FROM pg_settings WHERE name = 'default_transaction_read_only' AND reset_val = 'on'
                    AND EXISTS (SELECT FROM pg_file_settings WHERE pg_file_settings.name = 'default_transaction_read_only' AND pg_file_settings.setting = 'on')
                """),
    ]

    /// - Parameter slot: of the standby's receiver.
    static func primary(slot: String, lag: Span, budget: Int64, isManaged: Bool)
        -> [PreflightQuestion]
    {
        let slot = quotedLiteral(slot)
        return [manager(isManaged: isManaged)] + slotQuestions(slot, lag, budget)
            + dataQuestions(slot)
    }

    private static func slotQuestions(_ slot: String, _ lag: Span, _ budget: Int64)
        -> [PreflightQuestion]
    {
        [
            PreflightQuestion(
                severity: .error, code: "standby-cascaded",
                sql: """
                    SELECT format('the standby''s slot %s is not in use on this primary: it streams from another server', \(slot)),
                        'give a standby that streams from the primary'
                    WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = \(slot) AND slot_type = 'physical' AND active)
                    """),
            PreflightQuestion(
                severity: .error, code: "standby-lag",
                sql: """
                    SELECT format('the standby is %s behind, and the plan allows %s', date_trunc('milliseconds', r.replay_lag),
                            interval '\(lag.milliseconds) milliseconds'),
                        'wait until it has caught up (pg_stat_replication.replay_lag); or let the plan''s database: {standby: {lag: …}} allow more'
                    FROM pg_stat_replication AS r JOIN pg_replication_slots AS s ON s.active_pid = r.pid
                    WHERE s.slot_name = \(slot) AND (r.replay_lag > interval '\(lag.milliseconds) milliseconds')
                    UNION ALL SELECT format('the standby is not streaming yet: %s', r.state), 'wait until it has caught up'
                    FROM pg_stat_replication AS r JOIN pg_replication_slots AS s ON s.active_pid = r.pid
                    WHERE s.slot_name = \(slot) AND r.state <> 'streaming'
                    """),
            PreflightQuestion(
                severity: .error, code: "standby-wal",
                sql: """
                    SELECT format('the primary keeps %s of its log for a slot at most, and the plan allows %s: the standby could not be fed again',
                            pg_size_pretty(setting::bigint * 1048576), pg_size_pretty(\(budget)::bigint)),
                        format('ALTER SYSTEM SET max_slot_wal_keep_size = %L, and SELECT pg_reload_conf(); or less `wal` in the plan''s database: '
                            '{standby: …}', \((budget + 1_048_575) / 1_048_576) || 'MB')
                    FROM pg_settings WHERE name = 'max_slot_wal_keep_size' AND setting::bigint >= 0 AND setting::bigint * 1048576 < \(budget)
                    UNION ALL SELECT format('slot %s is %s', slot_name, wal_status), 'let the standby catch up, or make it anew'
                    FROM pg_replication_slots WHERE slot_name = \(slot) AND wal_status IN ('unreserved', 'lost')
                    UNION ALL SELECT format('slots that nobody uses are given up after %s %s', setting, unit),
                        'ALTER SYSTEM SET idle_replication_slot_timeout = 0, and SELECT pg_reload_conf()'
                    FROM pg_settings WHERE name = 'idle_replication_slot_timeout' AND setting <> '0'
                    """),
        ]
    }

    private static func dataQuestions(_ slot: String) -> [PreflightQuestion] {
        [
            PreflightQuestion(
                severity: .error, code: "standby-shared",
                sql: """
                    SELECT format('the server has another database, %I: a promotion would lose what is written there while the standby is frozen',
                            datname),
                        'give the application a server of its own, or take `standby` out of the plan''s `database`'
                    FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname NOT IN ('postgres', current_database())
                    """),
            PreflightQuestion(
                severity: .warning, code: "standby-unlogged",
                sql: """
                    SELECT format('table %s is unlogged: nobody can read it on the standby, and after a promotion it is empty', oid::regclass),
                        format('ALTER TABLE %s SET LOGGED', oid::regclass)
                    FROM pg_class WHERE relkind IN ('r', 'p') AND relpersistence = 'u' AND relnamespace NOT IN (
                        SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                    """),
            PreflightQuestion(
                severity: .warning, code: "standby-others",
                sql: """
                    SELECT format('%s (%s) follows the primary as well: it shows what the migration does while the old release still reads, '
                            'and after a promotion it has nobody to follow', name, kind),
                        'let no old release read there in the window; after a promotion, make it anew from the new primary, as the report '
                            'says of the old one'
                    FROM (SELECT slot_name AS name, slot_type || ' slot' AS kind FROM pg_replication_slots
                            WHERE slot_name <> \(slot) AND NOT temporary
                        UNION ALL SELECT r.application_name, 'without a slot' FROM pg_stat_replication AS r
                            WHERE r.state = 'streaming' AND NOT EXISTS (SELECT FROM pg_replication_slots AS s WHERE s.active_pid = r.pid)) AS o
                    """),
        ]
    }
}
