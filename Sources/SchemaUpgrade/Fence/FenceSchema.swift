// SPDX-License-Identifier: Apache-2.0

/// What Sluice keeps in a database: the schema `sluice` with the epoch, the ledger, and what a fence has stored.
///
/// The schema stays between runs, because the epoch has to; everything else of a fence goes away with it. All functions are
/// called with `search_path = pg_catalog`, so nothing that an application owns can stand in for an operator or a function.
enum FenceSchema {
    /// Kept in the schema's comment; a lower one there means that the schema has to be brought up to date.
    static let version = 2
    /// How the comment of every version begins.
    static let family = "Sluice: epoch, ledger and fence, "

    /// What the comment of a schema says of its version. A version that cannot be read comes from later than this one.
    static func compare(toOwn comment: String) -> SchemaUpgrade.Installation {
        guard let found = Int(comment.dropFirst(family.count)) else { return .newer }
        return found == version ? .current : found < version ? .older : .newer
    }

    /// The trigger on each table. It begins with a character that sorts before letters, so it fires first.
    static let trigger = "!sluice_fence"
    static let eventTrigger = "sluice_fence"

    /// Built-in functions that change something and that no table's trigger can see.
    static let writingFunctions = [
        "nextval", "setval", "lo_creat", "lo_create", "lo_from_bytea", "lo_put", "lo_import",
        "lo_unlink", "lowrite",
        "lo_truncate", "lo_truncate64", "pg_logical_emit_message",
    ]

    /// Schemas that are no application's.
    static let foreignSchemas = "('pg_catalog', 'information_schema', 'pg_toast', 'sluice')"

    /// Safe to run again; needs a transaction.
    static var install: String { tables + guards + claims + rights + tableTriggers + privacy }

    /// What the functions below raise. Class `SL` is nobody's: neither PostgreSQL's nor the SQL standard's.
    enum Refusal: String {
        /// A higher epoch has been here.
        case superseded = "SL001"
        /// The fence of another run is up.
        case fenceHeld = "SL002"
        /// The fence of this run is not what the task needs.
        case fenceDown = "SL003"
    }

    private static let tables = """
        CREATE SCHEMA IF NOT EXISTS sluice;
        COMMENT ON SCHEMA sluice IS '\(family)\(version)';
        CREATE TABLE IF NOT EXISTS sluice.epoch (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            epoch bigint NOT NULL,
            run text NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE TABLE IF NOT EXISTS sluice.migration (
            version text PRIMARY KEY,
            name text NOT NULL,
            digest text NOT NULL,
            phase text NOT NULL,
            epoch bigint NOT NULL,
            run text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            milliseconds bigint NOT NULL);
        CREATE TABLE IF NOT EXISTS sluice.fence (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            state text NOT NULL CHECK (state IN ('raising', 'up', 'lifting')),
            run text NOT NULL,
            epoch bigint NOT NULL,
            raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            older jsonb,
            ended text[] NOT NULL DEFAULT '{}',
            census_transaction text);
        CREATE TABLE IF NOT EXISTS sluice.stored (
            kind text NOT NULL,
            object oid NOT NULL,
            part integer NOT NULL,
            detail text NOT NULL DEFAULT '',
            before text[],
            PRIMARY KEY (kind, object, part, detail));

        """

    /// Membership in `pg_write_all_data` reaches every table, these too; so only superusers get past a trigger.
    private static let guards = """
        CREATE OR REPLACE FUNCTION sluice.refuse_stranger() RETURNS trigger LANGUAGE plpgsql AS $guard$
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r
                WHERE r.rolname OPERATOR(pg_catalog.=) session_user AND r.rolsuper) THEN
                RAISE EXCEPTION 'the tables of schema sluice are not for applications' USING ERRCODE = '42501';
            END IF;
            RETURN NULL;
        END $guard$;
        DO $install$
        DECLARE name text;
        BEGIN
            FOREACH name IN ARRAY ARRAY['epoch', 'migration', 'fence', 'stored'] LOOP
                EXECUTE pg_catalog.format('DROP TRIGGER IF EXISTS stranger ON sluice.%I', name);
                EXECUTE pg_catalog.format('CREATE TRIGGER stranger BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
                    ON sluice.%I FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_stranger()', name);
                EXECUTE pg_catalog.format('ALTER TABLE sluice.%I ENABLE ALWAYS TRIGGER stranger', name);
            END LOOP;
        END $install$;

        """

    /// What a task asks for in the transaction that does its work: that its epoch leads, and that no other run's fence is up.
    ///
    /// The row of `sluice.epoch` stays locked until the transaction ends, so whatever changes the database comes one after the
    /// other, whoever asks.
    private static let claims = """
        CREATE OR REPLACE FUNCTION sluice.claim(task_epoch bigint, task_run text) RETURNS void LANGUAGE plpgsql AS $claim$
        DECLARE leader record;
        BEGIN
            INSERT INTO sluice.epoch AS e (epoch, run) VALUES (task_epoch, task_run)
                ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch, run = excluded.run, at = clock_timestamp()
                WHERE e.epoch <= excluded.epoch;
            IF NOT FOUND THEN
                SELECT * INTO leader FROM sluice.epoch;
                RAISE EXCEPTION 'epoch % has been replaced by epoch % (run %)', task_epoch, leader.epoch, leader.run
                    USING ERRCODE = '\(Refusal.superseded.rawValue)',
                    HINT = 'another coordinator leads; this one must stop';
            END IF;
        END $claim$;

        -- Fails while the fence of another run is up; returns what is said of the fence, or nothing when none is up.
        CREATE OR REPLACE FUNCTION sluice.keep_out(task_run text) RETURNS sluice.fence LANGUAGE plpgsql AS $keep$
        DECLARE fence sluice.fence;
        BEGIN
            SELECT * INTO fence FROM sluice.fence WHERE state <> 'lifting' FOR SHARE;
            IF fence.run <> task_run THEN
                RAISE EXCEPTION 'the fence of run % is up since %', fence.run, \(moment("fence.raised_at"))
                    USING ERRCODE = '\(Refusal.fenceHeld.rawValue)', HINT = '\(heldAdvice)';
            END IF;
            RETURN fence;
        END $keep$;

        -- Makes the fence this run's. What an earlier lift has left of its triggers is taken over.
        CREATE OR REPLACE FUNCTION sluice.claim_fence(task_epoch bigint, task_run text) RETURNS void LANGUAGE plpgsql AS $claim$
        BEGIN
            PERFORM sluice.claim(task_epoch, task_run);
            INSERT INTO sluice.fence AS f (state, run, epoch) VALUES ('raising', task_run, task_epoch)
                ON CONFLICT (one) DO UPDATE SET state = 'raising', run = excluded.run, epoch = excluded.epoch,
                    raised_at = excluded.raised_at, older = NULL, census_transaction = NULL,
                    ended = CASE f.state WHEN 'lifting' THEN '{}' ELSE f.ended END
                WHERE f.run = excluded.run OR f.state = 'lifting';
            IF NOT FOUND THEN PERFORM sluice.keep_out(task_run); END IF;
        END $claim$;

        -- Fails unless this run's fence is in one of these states.
        CREATE OR REPLACE FUNCTION sluice.expect_fence(task_run text, states text[]) RETURNS sluice.fence
        LANGUAGE plpgsql AS $expect$
        DECLARE fence sluice.fence;
        BEGIN
            fence := sluice.keep_out(task_run);
            IF fence.state = ANY (states) THEN RETURN fence; END IF;
            RAISE EXCEPTION 'the fence is not up any more' USING ERRCODE = '\(Refusal.fenceDown.rawValue)',
                HINT = 'retry from the fence';
        END $expect$;

        """

    /// A time for people, to the second.
    static func moment(_ expression: String) -> String {
        "to_char(\(expression) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')"
    }

    static let heldAdvice = "wait until that run has ended, or roll it back, then retry"

    /// Taking rights away and giving them back, by writing the ACLs themselves.
    ///
    /// GRANT cannot bring back an ACL as it was: not its order, not its grantors, not the NULL that stands for the default, and
    /// pg_dump shows each of these. While an ACL is closed, `pg_shdepend` still has the roles of the old one, so none of them
    /// can be dropped.
    private static let rights = """
        CREATE OR REPLACE FUNCTION sluice.closed(acl aclitem[], owner oid, rights text) RETURNS aclitem[]
        LANGUAGE sql STABLE AS $closed$
            SELECT coalesce(array_agg(kept::aclitem ORDER BY n) FILTER (WHERE kept IS NOT NULL), '{}')
            FROM (
                SELECT n, CASE
                    WHEN EXISTS (SELECT FROM aclexplode(ARRAY[item]) AS e WHERE e.grantee = owner) THEN item::text
                    WHEN left_over[2] = '' THEN NULL
                    ELSE left_over[1] || left_over[2] || left_over[3] END AS kept
                FROM unnest(acl) WITH ORDINALITY AS u (item, n),
                LATERAL regexp_match(item::text, '^((?:"(?:[^"]|"")*"|[^="]*)=)([a-zA-Z*]*)(/.*)$') AS m,
                LATERAL (SELECT ARRAY[m[1], regexp_replace(m[2], '[' || rights || '][*]?', '', 'g'), m[3]]
                    AS left_over) AS l
            ) AS items
        $closed$;

        DROP VIEW IF EXISTS sluice.open_relation, sluice.open_column, sluice.open_function;
        CREATE VIEW sluice.open_relation AS
            SELECT c.oid, c.relacl AS acl, c.relowner AS owner,
                CASE c.relkind WHEN 'S' THEN 'wU' ELSE 'awdD' END AS rights
            FROM pg_class AS c
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND c.relacl IS NOT NULL
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreignSchemas))
                AND EXISTS (SELECT FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner
                    AND e.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'USAGE'));

        CREATE VIEW sluice.open_column AS
            SELECT a.attrelid AS oid, a.attnum, a.attacl AS acl, c.relowner AS owner
            FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
            WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.relpersistence <> 't'
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreignSchemas))
                AND EXISTS (SELECT FROM aclexplode(a.attacl) AS e WHERE e.grantee <> c.relowner
                    AND e.privilege_type IN ('INSERT', 'UPDATE'));

        -- Few functions are candidates; only their ACLs are taken apart.
        CREATE VIEW sluice.open_function AS
            WITH candidate AS MATERIALIZED (
                SELECT p.oid, p.proacl, p.proowner FROM pg_proc AS p
                WHERE p.pronamespace = 'pg_catalog'::regnamespace
                    AND p.proname IN (\(writingFunctions.map { "'\($0)'" }.joined(separator: ", ")))
                UNION ALL SELECT p.oid, p.proacl, p.proowner FROM pg_proc AS p
                WHERE p.prosecdef AND p.provolatile = 'v'
                    AND p.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreignSchemas))
                    AND EXISTS (SELECT FROM pg_authid AS r WHERE r.oid = p.proowner AND r.rolsuper))
            SELECT p.oid, p.proacl AS stored, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl, p.proowner AS owner
            FROM candidate AS p
            WHERE EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS e
                WHERE e.grantee <> p.proowner);

        -- Stores and closes whatever is open: rights of tables, views, sequences, columns and functions. Many objects have
        -- the same rights, so each list of rights is taken apart once.
        CREATE OR REPLACE FUNCTION sluice.close_rights() RETURNS integer LANGUAGE plpgsql AS $close$
        DECLARE found_open integer := 0; touched integer;
        BEGIN
            -- Whoever is changing one of these at this moment is waited for; the next statement sees what came of it.
            PERFORM FROM pg_class AS c WHERE c.oid IN (SELECT o.oid FROM sluice.open_relation AS o) FOR UPDATE;
            WITH o AS MATERIALIZED (SELECT * FROM sluice.open_relation), l AS MATERIALIZED (
                SELECT d.*, sluice.closed(d.acl, d.owner, d.rights) AS closed
                FROM (SELECT DISTINCT acl, owner, rights FROM o) AS d), kept AS (
                INSERT INTO sluice.stored AS s (kind, object, part, before)
                SELECT 'relation', o.oid, 0, o.acl::text[] FROM o
                ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = ARRAY(
                    SELECT i FROM (SELECT DISTINCT ON (i) i, n FROM unnest(s.before || excluded.before)
                        WITH ORDINALITY AS u (i, n) ORDER BY i, n) AS d ORDER BY n))
            UPDATE pg_class AS c SET relacl = l.closed FROM o JOIN l USING (acl, owner, rights) WHERE o.oid = c.oid;
            GET DIAGNOSTICS touched = ROW_COUNT;
            found_open := found_open + touched;
            -- A column without any right left has NULL, not an empty list.
            WITH o AS MATERIALIZED (SELECT * FROM sluice.open_column), l AS MATERIALIZED (
                SELECT d.*, sluice.closed(d.acl, d.owner, 'aw') AS closed
                FROM (SELECT DISTINCT acl, owner FROM o) AS d), kept AS (
                INSERT INTO sluice.stored AS s (kind, object, part, before)
                SELECT 'column', o.oid, o.attnum, o.acl::text[] FROM o
                ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = excluded.before)
            UPDATE pg_attribute AS a SET attacl = nullif(l.closed, '{}') FROM o JOIN l USING (acl, owner)
                WHERE o.oid = a.attrelid AND o.attnum = a.attnum;
            GET DIAGNOSTICS touched = ROW_COUNT;
            found_open := found_open + touched;
            WITH o AS MATERIALIZED (SELECT * FROM sluice.open_function), l AS MATERIALIZED (
                SELECT d.*, sluice.closed(d.acl, d.owner, 'X') AS closed
                FROM (SELECT DISTINCT acl, owner FROM o) AS d), kept AS (
                INSERT INTO sluice.stored AS s (kind, object, part, before)
                SELECT 'function', o.oid, 0, o.stored::text[] FROM o
                ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = excluded.before)
            UPDATE pg_proc AS p SET proacl = l.closed FROM o JOIN l USING (acl, owner) WHERE o.oid = p.oid;
            GET DIAGNOSTICS touched = ROW_COUNT;
            RETURN found_open + touched;
        END $close$;

        -- Gives back what close_rights stored, to what still exists, and forgets it.
        CREATE OR REPLACE FUNCTION sluice.open_rights() RETURNS void LANGUAGE plpgsql AS $open$
        BEGIN
            UPDATE pg_class AS c SET relacl = s.before::aclitem[] FROM sluice.stored AS s
                WHERE s.kind = 'relation' AND s.object = c.oid;
            UPDATE pg_attribute AS a SET attacl = s.before::aclitem[] FROM sluice.stored AS s
                WHERE s.kind = 'column' AND s.object = a.attrelid AND s.part = a.attnum;
            UPDATE pg_proc AS p SET proacl = s.before::aclitem[] FROM sluice.stored AS s
                WHERE s.kind = 'function' AND s.object = p.oid;
            DELETE FROM sluice.stored WHERE kind IN ('relation', 'column', 'function');
        END $open$;

        """

    /// The trigger on every table. Tables that are locked are passed over and counted, for another try.
    private static let tableTriggers = """
        CREATE OR REPLACE VIEW sluice.unfenced_table AS
            SELECT c.oid FROM pg_class AS c
            WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreignSchemas))
                AND NOT EXISTS (SELECT FROM pg_trigger AS t
                    WHERE t.tgrelid = c.oid AND t.tgname = '\(trigger)' AND t.tgenabled = 'A');

        CREATE OR REPLACE FUNCTION sluice.fence_tables(at_most integer) RETURNS integer LANGUAGE plpgsql AS $fence$
        DECLARE found_table oid; busy integer := 0;
        BEGIN
            FOR found_table IN SELECT oid FROM sluice.unfenced_table ORDER BY oid LIMIT at_most LOOP
                BEGIN
                    -- A foreign table takes no TRUNCATE trigger; what it empties is not in this database.
                    EXECUTE format('CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE %s ON %s
                        FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_write()', '\(trigger)',
                        CASE WHEN EXISTS (SELECT FROM pg_foreign_table WHERE ftrelid = found_table) THEN ''
                        ELSE 'OR TRUNCATE' END, found_table::regclass);
                    EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', found_table::regclass, '\(trigger)');
                EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                    busy := busy + 1;
                    -- Whoever holds one often holds many: the others are only tried.
                    IF busy = 5 THEN PERFORM set_config('lock_timeout', '1ms', true); END IF;
                -- Dropped by a transaction that was under way.
                WHEN undefined_table OR invalid_table_definition OR syntax_error THEN
                    NULL;
                END;
            END LOOP;
            RETURN busy;
        END $fence$;

        -- Takes away triggers without effect, and with the last of them everything that a fence stores.
        --
        -- Returns how many are left. The locks keep readers out and are kept until the transaction ends, so tables that nobody
        -- uses come first, and it ends with the first one that has to be waited for; another try begins with another.
        CREATE OR REPLACE FUNCTION sluice.finish_lift(at_most integer) RETURNS bigint LANGUAGE plpgsql AS $finish$
        DECLARE found_table oid; left_over bigint;
        BEGIN
            -- Another may have finished the lift meanwhile, and a new fence may be up.
            IF NOT EXISTS (SELECT FROM sluice.fence WHERE state = 'lifting') THEN RETURN 0; END IF;
            FOR found_table IN SELECT t.tgrelid FROM pg_trigger AS t WHERE t.tgname = '\(trigger)'
                ORDER BY t.tgrelid IN (SELECT l.relation FROM pg_locks AS l
                    WHERE l.relation IS NOT NULL AND l.pid <> pg_backend_pid()), random() LIMIT at_most LOOP
                BEGIN
                    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', '\(trigger)', found_table::regclass);
                EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                    EXIT;
                -- Dropped meanwhile.
                WHEN undefined_table OR syntax_error THEN
                    NULL;
                END;
            END LOOP;
            SELECT count(*) INTO left_over FROM pg_trigger WHERE tgname = '\(trigger)';
            IF left_over = 0 THEN
                DROP FUNCTION IF EXISTS sluice.refuse_write();
                DROP FUNCTION IF EXISTS sluice.refuse_change();
                DELETE FROM sluice.stored;
                DELETE FROM sluice.fence;
            END IF;
            RETURN left_over;
        END $finish$;
        DROP FUNCTION IF EXISTS sluice.unfence_tables(integer);

        """

    /// Default privileges may open new schemas, tables and functions to everybody; these stay the owner's alone.
    private static let privacy = """
        DO $privacy$
        DECLARE r record;
        BEGIN
            FOR r IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_namespace AS n, pg_catalog.aclexplode(n.nspacl) AS e
                WHERE n.nspname = 'sluice' AND e.grantee <> n.nspowner
                UNION SELECT e.grantee FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS e
                WHERE c.relnamespace = 'sluice'::regnamespace AND e.grantee <> c.relowner
                UNION SELECT e.grantee FROM pg_catalog.pg_proc AS p, pg_catalog.aclexplode(
                    coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS e
                WHERE p.pronamespace = 'sluice'::regnamespace AND e.grantee <> p.proowner
            LOOP
                EXECUTE pg_catalog.format('REVOKE ALL ON SCHEMA sluice FROM %1$s;
                    REVOKE ALL ON ALL TABLES IN SCHEMA sluice FROM %1$s;
                    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sluice FROM %1$s',
                    CASE WHEN r.grantee = 0 THEN 'PUBLIC' ELSE r.grantee::regrole::text END);
            END LOOP;
        END $privacy$;

        """
}
