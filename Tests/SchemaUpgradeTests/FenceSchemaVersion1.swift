// SPDX-License-Identifier: Apache-2.0

/// What version 1 of Sluice made of a database, word for word: newer versions find such databases in the middle of a run.
enum FenceSchemaVersion1 {
    static let install = #"""
        CREATE SCHEMA IF NOT EXISTS sluice;
        COMMENT ON SCHEMA sluice IS 'Sluice: epoch, ledger and fence, 1';
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

        CREATE OR REPLACE VIEW sluice.open_relation AS
            SELECT c.oid, c.relacl AS acl,
                sluice.closed(c.relacl, c.relowner, CASE c.relkind WHEN 'S' THEN 'wU' ELSE 'awdD' END) AS closed
            FROM pg_class AS c
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND c.relacl IS NOT NULL
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'sluice'))
                AND EXISTS (SELECT FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner
                    AND e.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'USAGE'));

        CREATE OR REPLACE VIEW sluice.open_column AS
            SELECT a.attrelid AS oid, a.attnum, a.attacl AS acl, sluice.closed(a.attacl, c.relowner, 'aw') AS closed
            FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
            WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.relpersistence <> 't'
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'sluice'))
                AND EXISTS (SELECT FROM aclexplode(a.attacl) AS e WHERE e.grantee <> c.relowner
                    AND e.privilege_type IN ('INSERT', 'UPDATE'));

        -- Few functions are candidates; only their ACLs are taken apart.
        CREATE OR REPLACE VIEW sluice.open_function AS
            WITH candidate AS MATERIALIZED (
                SELECT p.oid, p.proacl, p.proowner FROM pg_proc AS p
                WHERE p.pronamespace = 'pg_catalog'::regnamespace
                    AND p.proname IN ('nextval', 'setval', 'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lo_import', 'lo_unlink', 'lowrite', 'lo_truncate', 'lo_truncate64', 'pg_logical_emit_message')
                UNION ALL SELECT p.oid, p.proacl, p.proowner FROM pg_proc AS p
                WHERE p.prosecdef AND p.provolatile = 'v'
                    AND p.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'sluice'))
                    AND EXISTS (SELECT FROM pg_authid AS r WHERE r.oid = p.proowner AND r.rolsuper))
            SELECT p.oid, p.proacl AS acl,
                sluice.closed(coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner, 'X') AS closed
            FROM candidate AS p
            WHERE EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS e
                WHERE e.grantee <> p.proowner);

        -- Stores and closes whatever is open: rights of tables, views, sequences, columns and functions.
        CREATE OR REPLACE FUNCTION sluice.close_rights() RETURNS integer LANGUAGE plpgsql AS $close$
        DECLARE found_open integer := 0; touched integer;
        BEGIN
            -- Whoever is changing one of these at this moment is waited for; the next statement sees what came of it.
            PERFORM FROM pg_class AS c WHERE c.oid IN (SELECT o.oid FROM sluice.open_relation AS o) FOR UPDATE;
            INSERT INTO sluice.stored AS s (kind, object, part, before)
                SELECT 'relation', o.oid, 0, o.acl::text[] FROM sluice.open_relation AS o
                ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = ARRAY(
                    SELECT i FROM (SELECT DISTINCT ON (i) i, n FROM unnest(s.before || excluded.before)
                        WITH ORDINALITY AS u (i, n) ORDER BY i, n) AS d ORDER BY n);
            UPDATE pg_class AS c SET relacl = o.closed FROM sluice.open_relation AS o WHERE o.oid = c.oid;
            GET DIAGNOSTICS touched = ROW_COUNT;
            found_open := found_open + touched;
            INSERT INTO sluice.stored AS s (kind, object, part, before)
                SELECT 'column', o.oid, o.attnum, o.acl::text[] FROM sluice.open_column AS o
                ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = excluded.before;
            -- A column without any right left has NULL, not an empty list.
            UPDATE pg_attribute AS a SET attacl = nullif(o.closed, '{}') FROM sluice.open_column AS o
                WHERE o.oid = a.attrelid AND o.attnum = a.attnum;
            GET DIAGNOSTICS touched = ROW_COUNT;
            found_open := found_open + touched;
            INSERT INTO sluice.stored AS s (kind, object, part, before)
                SELECT 'function', o.oid, 0, o.acl::text[] FROM sluice.open_function AS o
                ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = excluded.before;
            UPDATE pg_proc AS p SET proacl = o.closed FROM sluice.open_function AS o WHERE o.oid = p.oid;
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

        CREATE OR REPLACE VIEW sluice.unfenced_table AS
            SELECT c.oid FROM pg_class AS c
            WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'sluice'))
                AND NOT EXISTS (SELECT FROM pg_trigger AS t
                    WHERE t.tgrelid = c.oid AND t.tgname = '!sluice_fence' AND t.tgenabled = 'A');

        CREATE OR REPLACE FUNCTION sluice.fence_tables(at_most integer) RETURNS integer LANGUAGE plpgsql AS $fence$
        DECLARE found_table oid; busy integer := 0;
        BEGIN
            FOR found_table IN SELECT oid FROM sluice.unfenced_table ORDER BY oid LIMIT at_most LOOP
                BEGIN
                    -- A foreign table takes no TRUNCATE trigger; what it empties is not in this database.
                    EXECUTE format('CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE %s ON %s
                        FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_write()', '!sluice_fence',
                        CASE WHEN EXISTS (SELECT FROM pg_foreign_table WHERE ftrelid = found_table) THEN ''
                        ELSE 'OR TRUNCATE' END, found_table::regclass);
                    EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', found_table::regclass, '!sluice_fence');
                EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                    busy := busy + 1;
                -- Dropped by a transaction that was under way.
                WHEN undefined_table OR invalid_table_definition THEN
                    NULL;
                END;
            END LOOP;
            RETURN busy;
        END $fence$;

        CREATE OR REPLACE FUNCTION sluice.unfence_tables(at_most integer) RETURNS integer LANGUAGE plpgsql AS $unfence$
        DECLARE found_table oid; busy integer := 0;
        BEGIN
            FOR found_table IN SELECT t.tgrelid FROM pg_trigger AS t WHERE t.tgname = '!sluice_fence'
                ORDER BY t.tgrelid LIMIT at_most LOOP
                BEGIN
                    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', '!sluice_fence', found_table::regclass);
                EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                    busy := busy + 1;
                END;
            END LOOP;
            RETURN busy;
        END $unfence$;

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
        """#

    /// A fence of the run `r1`, without its triggers.
    static func raise(migrator: String) -> String {
        let refusal = """
            IF session_user OPERATOR(pg_catalog.<>) '\(migrator)'::pg_catalog.name THEN
                RAISE EXCEPTION 'this database is read-only while an upgrade runs'
                    USING ERRCODE = '25006', HINT = 'Try again in a moment.';
            END IF;
            """
        return """
            INSERT INTO sluice.epoch (epoch, run) VALUES (1, 'r1');
            INSERT INTO sluice.fence (state, run, epoch) VALUES ('raising', 'r1', 1);
            SELECT sluice.close_rights();
            CREATE OR REPLACE FUNCTION sluice.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $refuse$
            BEGIN \(refusal) RETURN NULL; END $refuse$;
            CREATE OR REPLACE FUNCTION sluice.refuse_change() RETURNS event_trigger LANGUAGE plpgsql AS $refuse$
            BEGIN \(refusal) END $refuse$;
            DROP EVENT TRIGGER IF EXISTS sluice_fence;
            CREATE EVENT TRIGGER sluice_fence ON ddl_command_start EXECUTE FUNCTION sluice.refuse_change();
            ALTER EVENT TRIGGER sluice_fence ENABLE ALWAYS;
            """
    }

    static let complete = """
        SELECT sluice.fence_tables(500); UPDATE sluice.fence SET state = 'up', older = '[]';
        """

    /// The triggers stay, without effect.
    static let lift = """
        SELECT sluice.open_rights();
        DROP EVENT TRIGGER IF EXISTS sluice_fence;
        CREATE OR REPLACE FUNCTION sluice.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $pass$
        BEGIN RETURN NULL; END $pass$;
        UPDATE sluice.fence SET state = 'lifting';
        """
}
