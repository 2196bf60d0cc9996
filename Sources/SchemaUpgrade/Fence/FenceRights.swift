// SPDX-License-Identifier: Apache-2.0

/// What no trigger on a table can hold: sequences, large objects, and functions that run as a superuser.
///
/// Tables are held by their triggers alone, so that whoever writes to one gets `25006`, which frameworks know, and not
/// `42501`, which they take for a mistake of their own.
enum FenceRights {
    static var install: String { OwnerRights.install + acls + definers + closing }

    /// Built-in functions that change something, and that only their own ACL can close: PostgreSQL takes a short cut to them,
    /// past everything else that `pg_proc` says.
    static let writingFunctions = [
        "lo_creat", "lo_create", "lo_from_bytea", "lo_put", "lo_import", "lo_unlink", "lowrite",
        "lo_truncate", "lo_truncate64", "pg_logical_emit_message",
    ]

    static let writingFunctionList = writingFunctions.map { "'\($0)'" }.joined(separator: ", ")

    private static let ourNamespaces =
        "(SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))"

    /// Taking rights away and giving them back, by writing the ACLs themselves.
    ///
    /// GRANT cannot bring back an ACL as it was: not its order, not its grantors, not the NULL that stands for the default, and
    /// pg_dump shows each of these. While an ACL is closed, `pg_shdepend` still has the roles of the old one, so none of them
    /// can be dropped.
    private static let acls = """
        -- Without the named rights of all but the owner; of all, when no owner is named.
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

        -- What was there, and whatever of what is there now goes beyond it.
        CREATE OR REPLACE FUNCTION sluice.merged(earlier text[], later text[]) RETURNS text[] LANGUAGE sql AS $merged$
            SELECT earlier || ARRAY(
                SELECT i FROM unnest(later) AS i, regexp_match(i, '^(.*=)([a-zA-Z*]*)(/.*)$') AS m
                WHERE NOT EXISTS (SELECT FROM unnest(earlier) AS e, regexp_match(e, '^(.*=)([a-zA-Z*]*)(/.*)$') AS k
                    WHERE k[1] = m[1] AND k[3] = m[3] AND translate(m[2], k[2] || '*', '') = ''))
        $merged$;

        DROP VIEW IF EXISTS sluice.open_relation, sluice.open_column, sluice.open_function;

        -- The owner's own right to draw is taken as well: PostgreSQL asks for it when a number is drawn, and so after the
        -- trigger of the table that the number is for.
        CREATE OR REPLACE VIEW sluice.open_sequence AS
            SELECT c.oid, c.relacl AS stored, coalesce(c.relacl, acldefault('s', c.relowner)) AS acl
            FROM pg_class AS c
            WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND c.relnamespace NOT IN \(ourNamespaces)
                AND sluice.is_ours(c.relowner) AND (c.relacl IS NULL OR EXISTS (SELECT FROM aclexplode(c.relacl) AS e
                    WHERE e.privilege_type IN ('UPDATE', 'USAGE')));

        -- Members of pg_write_all_data draw from every sequence, whatever its ACL says.
        CREATE OR REPLACE FUNCTION sluice.somebody_writes_all() RETURNS boolean LANGUAGE sql STABLE AS $writes$
            WITH RECURSIVE writer (oid) AS (
                SELECT oid FROM pg_roles WHERE rolname = 'pg_write_all_data'
                UNION SELECT m.member FROM pg_auth_members AS m JOIN writer ON m.roleid = writer.oid)
            SELECT EXISTS (SELECT FROM writer JOIN pg_roles AS r USING (oid) WHERE r.rolcanlogin AND NOT r.rolsuper
                AND has_database_privilege(r.oid, current_database(), 'CONNECT'))
        $writes$;

        """

    /// The functions that run as a superuser, and whether they can be made to read only.
    static let superusersFunctions = """
        SELECT p.oid, p.prosrc, p.prokind, l.lanname, p.provolatile = 'v' AS is_volatile,
            l.lanname IN ('sql', 'plpgsql') AND p.prosrc <> '' AND p.proparallel = 'u' AND p.prokind <> 'p'
                AND p.prosqlbody IS NULL
                -- Before 16, large objects can be written in a read-only transaction too.
                AND (current_setting('server_version_num')::integer >= 160000 OR p.provolatile <> 'v'
                    OR p.prosrc !~* '\\m(lo_|lowrite|execute|perform|call)' AND NOT EXISTS (
                        SELECT FROM regexp_matches(p.prosrc, '([a-z_0-9$]+)\\s*[(]', 'gi') AS called (names)
                        JOIN pg_proc AS o ON o.proname = lower(called.names[1])
                        WHERE o.pronamespace <> 'pg_catalog'::regnamespace AND o.provolatile = 'v'))
                AS is_tamable,
            p.prosrc LIKE '%"!sluice"%' AS is_tame
        FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner AND r.rolsuper
            JOIN pg_language AS l ON l.oid = p.prolang
        WHERE p.prosecdef AND p.prorettype <> 'event_trigger'::regtype AND p.pronamespace NOT IN \(ourNamespaces)
        """

    /// Functions that run as a superuser, whom no right stops. They go on, but read only: each is made to begin by taking the
    /// right to write from its transaction, which nothing inside of it can take back.
    ///
    /// A pooler's `auth_query` is one of them: without it nobody could log in while the fence is up.
    private static let definers = """
        -- Only a superuser can do anything about them.
        CREATE OR REPLACE VIEW sluice.superusers_function AS SELECT * FROM (\(superusersFunctions)) AS f
            WHERE sluice.is_complete();


        -- What such a function is made to be; nothing when its text is not understood.
        CREATE OR REPLACE FUNCTION sluice.tame(language name, body text) RETURNS text LANGUAGE plpgsql STABLE AS $tame$
        DECLARE begins text[];
        BEGIN
            IF language = 'sql' THEN
                RETURN 'SELECT sluice.only_read() AS "!sluice"; ' || body;
            END IF;
            -- Comments, options and labels before the first block's DECLARE or BEGIN; all lines keep their numbers.
            begins := regexp_match(body,
                '^((?:\\s|--[^\\n]*\\n|/[*](?:[^*]|[*](?!/))*[*]/|#[^\\n]*\\n|<<[^>]*>>)*)(declare\\M|begin\\M)(.*)$', 'i');
            RETURN begins[1] || 'DECLARE "!sluice" text := sluice.only_read(); '
                || CASE lower(begins[2]) WHEN 'begin' THEN begins[2] ELSE '' END || begins[3];
        END $tame$;

        CREATE OR REPLACE FUNCTION sluice.only_read() RETURNS text LANGUAGE sql AS $read$
            SELECT pg_catalog.set_config('transaction_read_only', 'on', true)
        $read$;

        CREATE OR REPLACE FUNCTION sluice.tame_functions() RETURNS integer LANGUAGE plpgsql AS $tame$
        DECLARE f record; tamed integer := 0;
        BEGIN
            FOR f IN SELECT * FROM sluice.superusers_function WHERE is_tamable AND NOT is_tame ORDER BY oid LOOP
                BEGIN
                    UPDATE pg_proc SET prosrc = sluice.tame(f.lanname, f.prosrc) WHERE oid = f.oid;
                    IF f.lanname = 'sql' THEN PERFORM fmgr_sql_validator(f.oid); ELSE PERFORM plpgsql_validator(f.oid); END IF;
                    INSERT INTO sluice.stored (kind, object, part, before) VALUES ('body', f.oid, 0, ARRAY[f.prosrc])
                        ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = excluded.before;
                    tamed := tamed + 1;
                -- Its EXECUTE is taken instead.
                EXCEPTION WHEN OTHERS THEN NULL;
                END;
            END LOOP;
            RETURN tamed;
        END $tame$;

        """

    private static let closing = """
        CREATE OR REPLACE VIEW sluice.open_function AS
            WITH candidate AS MATERIALIZED (
                SELECT p.oid, p.proacl, p.proowner FROM pg_proc AS p
                WHERE p.pronamespace = 'pg_catalog'::regnamespace
                    AND (p.proname IN (\(writingFunctionList))
                        OR p.proname IN ('nextval', 'setval') AND sluice.somebody_writes_all())
                UNION ALL SELECT p.oid, p.proacl, p.proowner FROM pg_proc AS p
                    JOIN sluice.superusers_function AS f USING (oid) WHERE f.is_volatile AND NOT f.is_tame)
            SELECT p.oid, p.proacl AS stored, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl, p.proowner AS owner
            FROM candidate AS p
            WHERE sluice.is_complete() AND EXISTS (
                SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS e WHERE e.grantee <> p.proowner);

        -- Stores and closes whatever is open. Many objects have the same rights, so each list of rights is taken apart once.
        CREATE OR REPLACE FUNCTION sluice.close_rights() RETURNS integer LANGUAGE plpgsql AS $close$
        DECLARE found_open integer := 0; touched integer;
        BEGIN
            IF NOT sluice.is_complete() THEN RETURN sluice.close_sequences(); END IF;
            -- Whoever is changing one of these at this moment is waited for; the next statement sees what came of it.
            PERFORM FROM pg_class AS c WHERE c.oid IN (SELECT o.oid FROM sluice.open_sequence AS o) FOR UPDATE;
            WITH o AS MATERIALIZED (SELECT * FROM sluice.open_sequence), l AS MATERIALIZED (
                SELECT d.*, sluice.closed(d.acl, NULL, 'wU') AS closed FROM (SELECT DISTINCT acl FROM o) AS d), kept AS (
                INSERT INTO sluice.stored AS s (kind, object, part, before)
                SELECT 'relation', o.oid, 0, o.stored::text[] FROM o
                ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = sluice.merged(coalesce(s.before, (
                    SELECT acldefault('s', relowner)::text[] FROM pg_class WHERE oid = s.object)), excluded.before))
            UPDATE pg_class AS c SET relacl = l.closed FROM o JOIN l USING (acl) WHERE o.oid = c.oid;
            GET DIAGNOSTICS touched = ROW_COUNT;
            found_open := found_open + touched + sluice.tame_functions();
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

        -- Gives back what was stored, to what still exists, and forgets it. Tables and columns are from fences before version 3.
        CREATE OR REPLACE FUNCTION sluice.open_rights() RETURNS void LANGUAGE plpgsql AS $open$
        BEGIN
            IF NOT sluice.is_complete() THEN
                PERFORM sluice.open_sequences();
                DELETE FROM sluice.stored AS s WHERE s.kind = 'relation' AND NOT EXISTS (
                    SELECT FROM pg_class AS c WHERE c.oid = s.object AND NOT sluice.is_ours(c.relowner));
                RETURN;
            END IF;
            UPDATE pg_class AS c SET relacl = s.before::aclitem[] FROM sluice.stored AS s
                WHERE s.kind = 'relation' AND s.object = c.oid;
            UPDATE pg_attribute AS a SET attacl = s.before::aclitem[] FROM sluice.stored AS s
                WHERE s.kind = 'column' AND s.object = a.attrelid AND s.part = a.attnum;
            UPDATE pg_proc AS p SET proacl = s.before::aclitem[] FROM sluice.stored AS s
                WHERE s.kind = 'function' AND s.object = p.oid;
            UPDATE pg_proc AS p SET prosrc = s.before[1] FROM sluice.stored AS s
                WHERE s.kind = 'body' AND s.object = p.oid AND p.prosrc LIKE '%"!sluice"%';
            DELETE FROM sluice.stored WHERE kind IN ('relation', 'column', 'function', 'body');
        END $open$;

        """
}
