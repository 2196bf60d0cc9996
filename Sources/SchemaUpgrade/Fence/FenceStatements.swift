// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// The statements that put a fence up and take it down, apart from those that live as functions in the database.
enum FenceStatements {
    private static let refusal = """
        RAISE EXCEPTION '\(ToolSession.refusal)'
            USING ERRCODE = '25006', HINT = 'Try again in a moment.';
        """

    /// What everybody but the migrator meets. Keyed on `session_user`, which neither SET ROLE nor SECURITY DEFINER changes;
    /// written with `OPERATOR(pg_catalog.…)`, because it runs with the search path of whoever writes.
    ///
    /// - Parameters:
    ///   - lookingForPass: lets the sessions through that have the pass, too. A GRANT or REVOKE of theirs sees the rights as
    ///     they will be after the lift; nobody else does.
    ///   - isComplete: the migrator is a superuser, so it may make event triggers.
    ///   - counters: where a refused statement to a table is counted.
    static func refusals(
        migrator: String, lookingForPass: Bool = false, isComplete: Bool, counters: RefusalCounters
    ) -> String {
        let isStranger =
            "session_user OPERATOR(pg_catalog.<>) \(quotedLiteral(migrator))::pg_catalog.name"
        // Nobody else draws from a counter.
        let asMigrator = "SECURITY DEFINER SET search_path = pg_catalog "
        let asOwn = lookingForPass ? asMigrator : ""
        let check =
            lookingForPass
            ? "IF \(isStranger) AND NOT sluice.has_pass() THEN" : "IF \(isStranger) THEN"
        return FenceSchema.quietly + """
            CREATE OR REPLACE FUNCTION sluice.refuse_write() RETURNS trigger LANGUAGE plpgsql \(asMigrator)AS $refuse$
            BEGIN
                \(check)
                    \(counters.count)
                    \(refusal)
                END IF;
                RETURN NULL;
            END $refuse$;
            CREATE OR REPLACE FUNCTION sluice.refuse_change() RETURNS event_trigger LANGUAGE plpgsql \(asOwn)AS $refuse$
            BEGIN
                \(check) \(refusal) END IF;
                \(lookingForPass ? "IF tg_tag IN ('GRANT', 'REVOKE') THEN PERFORM sluice.open_rights(); END IF;" : "")
            END $refuse$;
            CREATE OR REPLACE FUNCTION sluice.only_read() RETURNS text LANGUAGE sql AS $read$
                SELECT CASE WHEN \(lookingForPass ? "sluice.has_pass()" : "false") THEN 'off'
                    ELSE pg_catalog.set_config('transaction_read_only', 'on', true) END
            $read$;
            """ + (isComplete ? watch : "")
    }

    private static let watch = """

        DROP EVENT TRIGGER IF EXISTS \(FenceSchema.eventTrigger);
        CREATE EVENT TRIGGER \(FenceSchema.eventTrigger) ON ddl_command_start
            EXECUTE FUNCTION sluice.refuse_change();
        ALTER EVENT TRIGGER \(FenceSchema.eventTrigger) ENABLE ALWAYS;
        """

    /// Lets everybody through at once, without a lock on any table; the triggers themselves go afterwards.
    ///
    /// - Parameter underWay: statements that may write nothing to their end, as ``statementsUnderWay`` has them.
    static func letThrough(isComplete: Bool, except underWay: [String] = []) -> String {
        var unwatch = ""
        if isComplete {
            // While such a statement lasts, it may define nothing either.
            let definitions =
                underWay.isEmpty
                ? "DROP EVENT TRIGGER IF EXISTS \(FenceSchema.eventTrigger);"
                : """
                CREATE OR REPLACE FUNCTION sluice.refuse_change() RETURNS event_trigger LANGUAGE plpgsql AS $pass$
                BEGIN
                    \(refusal(of: underWay))
                END $pass$;
                """
            unwatch = definitions + "\nDROP EVENT TRIGGER IF EXISTS \(FencePass.eventTrigger);\n"
        }
        return FenceSchema.quietly + unwatch + """
            CREATE OR REPLACE FUNCTION sluice.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $pass$
            BEGIN
                \(underWay.isEmpty ? "" : refusal(of: underWay))
                RETURN NULL;
            END $pass$;
            DELETE FROM sluice.stored WHERE kind IN ('tool', 'left-out');
            """
    }

    private static func refusal(of underWay: [String]) -> String {
        let list =
            "ARRAY[\(underWay.map(quotedLiteral).joined(separator: ", "))]::pg_catalog.text[]"
        return """
            IF pg_catalog.array_position(\(list), \(statement("pg_catalog.pg_backend_pid()", "pg_catalog.statement_timestamp()")))
                IS NOT NULL THEN \(refusal) END IF;
            """
    }

    /// What a statement is known by, to others and in its own session: its process and when it was sent.
    static func statement(_ process: String, _ sent: String) -> String {
        "pg_catalog.concat(\(process), ' ', extract(epoch FROM \(sent)))"
    }

    /// Roles are the server's, so one may be dropped, whatever the fence of a database refuses.
    private static let roleIsThere = "object IN (SELECT oid FROM pg_roles)"

    /// Memberships are the server's, not the database's, and no fence keeps anybody from granting one. They open nothing here:
    /// the triggers ask who logged in. They are left as they are; those that appear in the window are named.
    static let rememberMemberships = """
        INSERT INTO sluice.stored (kind, object, part, before)
            SELECT 'members', 0, 0, coalesce(array_agg(concat_ws(' ', roleid, member, grantor)), '{}') FROM pg_auth_members
            ON CONFLICT (kind, object, part, detail) DO NOTHING;
        """

    /// Memberships that were not there when the fence went up, of roles that have to do with this database.
    static let newMemberships = """
        SELECT format('role %s became a member of %s, granted by %s', m.member::regrole, m.roleid::regrole, m.grantor::regrole)
        FROM sluice.stored AS s JOIN pg_auth_members AS m
            ON concat_ws(' ', m.roleid, m.member, m.grantor) NOT IN (SELECT unnest(s.before))
        WHERE s.kind = 'members' AND (m.roleid IN (\(concernedRoles)) OR m.member IN (\(concernedRoles)))
        ORDER BY 1 LIMIT 20
        """

    /// Roles that have anything to do with this database: rights, ownership, a session, a membership that leads to them.
    static let concernedRoles = """
        SELECT d.refobjid FROM pg_shdepend AS d WHERE d.refclassid = 'pg_authid'::regclass
            AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
            AND (d.dbid <> 0 OR (d.classid = 'pg_database'::regclass
                AND d.objid = (SELECT oid FROM pg_database WHERE datname = current_database())))
        UNION SELECT a.usesysid FROM pg_stat_activity AS a WHERE a.datname = current_database()
        """

    /// What a fence before version 3 took away.
    static let restoreMemberships = """
        DO $give$
        DECLARE r record;
        BEGIN
            FOR r IN SELECT before FROM sluice.stored WHERE kind = 'membership' AND \(roleIsThere)
                ORDER BY object, detail LOOP
                EXECUTE format('GRANT %I TO %I %s GRANTED BY %I', r.before[1], r.before[2],
                    CASE WHEN r.before[4]::boolean THEN 'WITH ADMIN OPTION' ELSE '' END, r.before[3]);
            END LOOP;
            DELETE FROM sluice.stored WHERE kind = 'membership';
        END $give$;
        """

    /// The belt: `default_transaction_read_only` for the database, and again for each role that has a setting of its own.
    static let storeSettings = """
        INSERT INTO sluice.stored (kind, object, part, before)
            SELECT 'setting', r.role, 0, ARRAY(
                SELECT substr(s, strpos(s, '=') + 1) FROM pg_db_role_setting AS d, unnest(d.setconfig) AS s
                WHERE d.setrole = r.role AND d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND s LIKE 'default\\_transaction\\_read\\_only=%')
            FROM (SELECT 0::oid AS role UNION SELECT d.setrole FROM pg_db_role_setting AS d
                WHERE d.setrole <> 0 AND array_to_string(d.setconfig, chr(10)) LIKE '%default\\_transaction\\_read\\_only=%'
                    AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))) AS r
            WHERE r.role IS DISTINCT FROM (SELECT oid FROM pg_roles WHERE rolname = session_user)
            ON CONFLICT (kind, object, part, detail) DO NOTHING;
        DO $set$
        DECLARE r record;
        BEGIN
            FOR r IN SELECT object FROM sluice.stored WHERE kind = 'setting' AND (object = 0 OR \(roleIsThere)) LOOP
                EXECUTE format('ALTER %s SET default_transaction_read_only = on', CASE WHEN r.object = 0
                    THEN format('DATABASE %I', current_database())
                    ELSE format('ROLE %s IN DATABASE %I', r.object::regrole, current_database()) END);
            END LOOP;
        END $set$;
        """

    static let restoreSettings = """
        DO $restore$
        DECLARE r record; target text;
        BEGIN
            FOR r IN SELECT object, before FROM sluice.stored WHERE kind = 'setting' AND (object = 0 OR \(roleIsThere)) LOOP
                target := CASE WHEN r.object = 0 THEN format('DATABASE %I', current_database())
                    ELSE format('ROLE %s IN DATABASE %I', r.object::regrole, current_database()) END;
                IF cardinality(r.before) = 0 THEN
                    EXECUTE format('ALTER %s RESET default_transaction_read_only', target);
                ELSE
                    EXECUTE format('ALTER %s SET default_transaction_read_only = %L', target, r.before[1]);
                END IF;
            END LOOP;
            DELETE FROM sluice.stored WHERE kind = 'setting';
        END $restore$;
        """

    /// Which server this is: the same for a standby and for a copy of the files, another one for a dump that was read in.
    static let server = "(SELECT system_identifier::text FROM pg_control_system())"
    static let timeline = "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"

    /// SHA-256 over everything stored.
    static let storedDigest = """
        SELECT encode(sha256(convert_to(coalesce(string_agg(concat_ws(' ', kind, object, part, detail, before::text),
            chr(10) ORDER BY kind, object, part, detail), ''), 'UTF8')), 'hex') FROM sluice.stored
        """

    /// The transactions of this database that are under way, as JSON.
    ///
    /// By identity, not by comparing clocks: a clock that was set back cannot make an old transaction look young. Sessions that
    /// do not report what they do (`track_activities = off`) count as being in one.
    static let transactionsUnderWay = """
        SELECT coalesce(jsonb_agg(jsonb_build_object('pid', a.pid, 'session', a.backend_start::text,
            'transaction', coalesce(a.xact_start::text, 'unknown'))), '[]')
        FROM pg_stat_activity AS a
        WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
            AND a.backend_type NOT IN ('autovacuum worker', 'parallel worker')
            AND (a.xact_start IS NOT NULL OR a.state = 'disabled')
        """

    /// What a query begins with, which tells its kind and none of its values.
    static let firstWords = "^\\s*(\\S{1,20}(?:\\s+[A-Za-z_.]{1,40}){0,2})"

    /// The same as ``description``, with instants instead of ages, so that it stays as it is while nothing changes.
    static let holder = """
        format('role %s, application %s, process %s, %s%s: %s', coalesce(a.usename, '?'),
            coalesce(nullif(a.application_name, ''), '(none)'), a.pid, coalesce(a.state, a.backend_type),
            ', its transaction since ' || \(FenceSchema.utcText("a.xact_start")),
            coalesce((regexp_match(a.query, '\(firstWords)'))[1], '(no query)'))
        """

    /// Role, application, age and the first words of the query; never its values.
    static let description = """
        format('role %s, application %s, process %s, %s, %s s old: %s', coalesce(a.usename, '?'),
            coalesce(nullif(a.application_name, ''), '(none)'), a.pid, coalesce(a.state, a.backend_type),
            coalesce(round(extract(epoch FROM clock_timestamp() - a.xact_start))::text, '?'),
            coalesce((regexp_match(a.query, '\(firstWords)'))[1], '(no query)'))
        """
}
