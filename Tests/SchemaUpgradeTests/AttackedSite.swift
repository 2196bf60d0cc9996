// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// A schema with everything that somebody could try to write through.
extension Site {
    ///
    /// - Parameter withWriterOfAll: a role is a member of `pg_write_all_data`, which draws from every sequence; then nobody may.
    static func makeAttacked(
        withWriterOfAll: Bool = true, level: FenceLevel = .complete
    ) async throws -> Site {
        let site = try await make(
            """
            CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw; CREATE EXTENSION lo;
            CREATE ROLE member_$db LOGIN; GRANT $owner TO member_$db;
            CREATE ROLE holder_$db LOGIN;
            CREATE ROLE group_$db; CREATE ROLE grouped_$db LOGIN; GRANT group_$db TO grouped_$db;
            CREATE ROLE passer_$db LOGIN NOINHERIT; GRANT group_$db TO passer_$db WITH ADMIN OPTION;
            CREATE ROLE nobody_$db LOGIN;
            CREATE ROLE writer_$db LOGIN; GRANT pg_write_all_data, pg_read_all_data TO writer_$db WITH ADMIN OPTION;
            CREATE ROLE granted_$db LOGIN; CREATE ROLE columned_$db LOGIN;
            CREATE ROLE reader_$db LOGIN; GRANT pg_read_server_files TO reader_$db;
            CREATE ROLE dbowner_$db LOGIN; ALTER DATABASE $db OWNER TO dbowner_$db;
            CREATE ROLE off_$db LOGIN; ALTER ROLE off_$db SET default_transaction_read_only = off;
            GRANT CREATE, USAGE ON SCHEMA public TO holder_$db, member_$db, writer_$db, $app;
            GRANT USAGE ON SCHEMA public TO PUBLIC;

            SET ROLE $owner;
            GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON entry TO group_$db, off_$db, reader_$db, dbowner_$db;
            GRANT SELECT, INSERT, UPDATE ON entry TO granted_$db WITH GRANT OPTION;
            GRANT SELECT, INSERT (name), UPDATE (name) ON entry TO columned_$db;
            GRANT ALL ON entry_id_seq TO group_$db, granted_$db, off_$db, reader_$db, columned_$db, dbowner_$db;
            CREATE TABLE everyone (n integer); GRANT ALL ON everyone TO PUBLIC; INSERT INTO everyone VALUES (1);
            CREATE TABLE parent (id integer PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 5);
            CREATE TABLE child (id integer REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
            INSERT INTO child SELECT generate_series(1, 5);
            CREATE TABLE parted (n integer) PARTITION BY RANGE (n);
            CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
            CREATE TABLE base (n integer); CREATE TABLE derived () INHERITS (base); INSERT INTO derived VALUES (7);
            CREATE UNLOGGED TABLE scratch (n integer);
            CREATE TABLE loose (id integer GENERATED ALWAYS AS IDENTITY, n integer);
            CREATE SEQUENCE counter; CREATE SEQUENCE everyones_counter; GRANT ALL ON everyones_counter TO PUBLIC;
            CREATE VIEW entries AS SELECT id, name FROM entry;
            CREATE VIEW instead AS SELECT n FROM base;
            CREATE VIEW ruled AS SELECT n FROM base;
            CREATE RULE ruled AS ON INSERT TO ruled DO INSTEAD INSERT INTO base VALUES (NEW.n);
            CREATE RULE drawing AS ON DELETE TO ruled DO INSTEAD SELECT nextval('counter');
            CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN INSERT INTO public.base VALUES (NEW.n); RETURN NEW; END';
            CREATE TRIGGER put INSTEAD OF INSERT ON instead FOR EACH ROW EXECUTE FUNCTION put();
            CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM entry;
            CREATE FUNCTION owner_writes() RETURNS void LANGUAGE sql SECURITY DEFINER AS
                'INSERT INTO public.base VALUES (1)';
            CREATE FUNCTION owner_draws() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
                $f$SELECT nextval('public.counter')$f$;
            CREATE FUNCTION stable_draws() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS
                $f$SELECT nextval('public.counter')$f$;
            CREATE FUNCTION stable_writes() RETURNS void LANGUAGE plpgsql STABLE SECURITY DEFINER AS
                'BEGIN PERFORM public.owner_writes(); END';
            CREATE FUNCTION owner_builds() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN EXECUTE ''CREATE TABLE public.built (n integer)''; END';
            CREATE FUNCTION owner_frees() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN EXECUTE ''ALTER TABLE public.base DISABLE TRIGGER ALL''; INSERT INTO public.base VALUES (3); END';
            CREATE FUNCTION many() RETURNS SETOF integer LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN FOR n IN 1..1000 LOOP INSERT INTO public.base VALUES (n); RETURN NEXT n; END LOOP; END';
            GRANT ALL ON parent, child, parted, parted_low, base, derived, scratch, loose, entries, instead, ruled TO $app, group_$db;
            GRANT ALL ON counter TO $app, group_$db;
            GRANT SELECT ON summary TO PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO $app, PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO $app, PUBLIC;
            RESET ROLE;
            ALTER DEFAULT PRIVILEGES FOR ROLE $migrator GRANT ALL ON TABLES TO $app, PUBLIC;
            ALTER DEFAULT PRIVILEGES FOR ROLE $migrator GRANT ALL ON SEQUENCES TO $app;
            ALTER DEFAULT PRIVILEGES FOR ROLE $migrator GRANT ALL ON SCHEMAS TO PUBLIC;

            CREATE FUNCTION root_writes() RETURNS void LANGUAGE sql SECURITY DEFINER AS
                'INSERT INTO public.base VALUES (2)';
            CREATE FUNCTION root_draws() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
                $f$SELECT nextval('public.counter')$f$;
            CREATE FUNCTION root_frees() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN EXECUTE ''DROP EVENT TRIGGER IF EXISTS sluice_fence''; EXECUTE ''ALTER TABLE public.base DISABLE TRIGGER ALL'';
                INSERT INTO public.base VALUES (4); END';
            CREATE FUNCTION root_objects() RETURNS oid LANGUAGE sql SECURITY DEFINER AS
                $f$SELECT lo_from_bytea(0, 'root')$f$;
            CREATE PROCEDURE root_commits() LANGUAGE plpgsql SECURITY DEFINER AS
                'BEGIN INSERT INTO public.base VALUES (5); END';
            SET ROLE holder_$db;
            CREATE TABLE held (n integer); INSERT INTO held VALUES (1); CREATE SEQUENCE held_counter;
            CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.held VALUES (9); COMMIT; END';
            CREATE TABLE evaded (n integer);
            CREATE FUNCTION draw() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                $f$BEGIN PERFORM nextval('public.held_counter'); RETURN NULL; END$f$;
            CREATE TRIGGER "!!first" BEFORE INSERT ON evaded FOR EACH STATEMENT EXECUTE FUNCTION draw();
            RESET ROLE; CREATE SCHEMA trap AUTHORIZATION holder_$db; SET ROLE holder_$db;
            CREATE FUNCTION trap.never(name, name) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
            CREATE OPERATOR trap.<> (LEFTARG = name, RIGHTARG = name, FUNCTION = trap.never);
            RESET ROLE;

            SELECT lo_from_bytea(4242, 'content'); ALTER LARGE OBJECT 4242 OWNER TO $app;
            SELECT lo_from_bytea(4243, 'content'); GRANT ALL ON LARGE OBJECT 4243 TO PUBLIC;
            CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '\(try PostgresClusterPlace.host())', port '\(try PostgresClusterPlace.port())', dbname '$db');
            CREATE USER MAPPING FOR $app SERVER loop OPTIONS (user '$app', password_required 'false');
            CREATE FOREIGN TABLE far (id integer, name text) SERVER loop OPTIONS (table_name 'entry');
            GRANT ALL ON far TO $app; GRANT USAGE ON FOREIGN SERVER loop TO $app; CREATE SCHEMA imported AUTHORIZATION $app;
            GRANT EXECUTE ON FUNCTION dblink_connect_u(text), dblink_connect_u(text, text) TO $app;
            """, level: level)
        if level == .owner { try await site.asSuperuser("GRANT holder_$db TO $migrator") }
        if !withWriterOfAll {
            try await site.asSuperuser(
                """
                REVOKE pg_write_all_data FROM writer_$db;
                REVOKE CONNECT ON DATABASE $db FROM PUBLIC;
                DO $x$ DECLARE r record; BEGIN
                    FOR r IN SELECT oid FROM pg_roles WHERE rolname LIKE '%\\_$db' LOOP
                        EXECUTE format('GRANT CONNECT ON DATABASE $db TO %s', r.oid::regrole);
                    END LOOP;
                END $x$
                """)
        }
        // The parameter's rights are one row of the server; sites that are made at the same time get in each other's way.
        for attempt in 1... {
            do {
                try await site.asSuperuser(
                    "GRANT SET ON PARAMETER session_replication_role TO $app")
                break
            } catch  where attempt < 50 {
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        return site
    }
}

import PostgresTestSupport

/// Where the test cluster listens, for sessions that the server itself opens.
enum PostgresClusterPlace {
    static func host() throws -> String { try PostgresCluster.shared.get().directory }
    static func port() throws -> Int { try PostgresCluster.shared.get().port }
}
