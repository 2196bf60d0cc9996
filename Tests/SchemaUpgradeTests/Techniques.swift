// SPDX-License-Identifier: Apache-2.0

extension Technique {
    static let all: [Technique] =
        rights + owners + definers + disguises + indirect + sequencesAndLargeObjects + definitions
        + oldSessions
        + twoPhase + destructive + afterwards + ofWhoNotWhat

    private static let insert = "INSERT INTO entry (name) VALUES ('got through')"

    /// With rights that were granted in every way that there is.
    private static let rights: [Technique] = [
        Technique("grantee inserts", as: "$app", .fresh, insert),
        Technique("grantee updates", as: "$app", .fresh, "UPDATE entry SET name = 'got through'"),
        Technique("grantee deletes", as: "$app", .fresh, "DELETE FROM entry WHERE id = 1"),
        Technique("idle session inserts", as: "$app", .idle(["SELECT 1"]), insert),
        Technique("group member inserts", as: "grouped_$db", .fresh, insert),
        Technique(
            "group member truncates", as: "grouped_$db", .fresh, "TRUNCATE entry"),
        Technique(
            "NOINHERIT member sets role to the group", as: "passer_$db", .fresh,
            "SET ROLE group_$db", insert),
        Technique(
            "anybody, by a right of PUBLIC", as: "nobody_$db", .fresh,
            "INSERT INTO everyone VALUES (2)"),
        Technique(
            "anybody truncates, by a right of PUBLIC", as: "nobody_$db", .fresh, "TRUNCATE everyone"
        ),
        Technique("column right inserts", as: "columned_$db", .fresh, insert),
        Technique(
            "column right updates", as: "columned_$db", .fresh, "UPDATE entry SET name = 'x'"),
        Technique("pg_write_all_data inserts", as: "writer_$db", .fresh, insert),
        Technique(
            "pg_write_all_data writes the fence's own table", as: "writer_$db", .idle(["SELECT 1"]),
            "UPDATE sluice.fence SET state = 'lifting'", "DELETE FROM sluice.stored", insert),
        Technique(
            "grant option passed on", as: "granted_$db", .fresh,
            "GRANT INSERT ON entry TO nobody_$db", insert),
        Technique(
            "COPY from a server's file", as: "reader_$db", .fresh,
            "COPY entry (name) FROM '/etc/hostname'"),
        Technique(
            "COPY FREEZE after TRUNCATE", as: "reader_$db", .fresh,
            "BEGIN", "TRUNCATE entry", "COPY entry (name) FROM '/etc/hostname' WITH (FREEZE)",
            "COMMIT"),
        Technique(
            "MERGE", as: "$app", .fresh,
            "MERGE INTO entry USING (SELECT 3 AS id) AS s ON entry.id = s.id WHEN MATCHED THEN UPDATE SET name = 'merged' WHEN NOT MATCHED THEN INSERT (name) VALUES ('merged')"
        ),
        Technique(
            "INSERT ON CONFLICT", as: "$app", .fresh,
            "INSERT INTO entry (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name"
        ),
        Technique(
            "writing WITH", as: "$app", .fresh,
            "WITH gone AS (DELETE FROM entry RETURNING *) SELECT * FROM gone"),
        Technique("EXPLAIN ANALYZE of an insert", as: "$app", .fresh, "EXPLAIN ANALYZE \(insert)"),
        Technique(
            "prepared statement from before", as: "$app",
            .idle(["PREPARE p AS \(insert)", "EXECUTE p"]), "EXECUTE p"),
        Technique(
            "definer through a function that runs a text", as: "nobody_$db", .fresh,
            "SELECT * FROM ts_stat('SELECT to_tsvector(owner_writes()::text)')"),
    ]

    /// As those who own the tables, which no REVOKE reaches.
    private static let owners: [Technique] = [
        Technique(
            "owner's member inserts", as: "member_$db", .fresh, "INSERT INTO base VALUES (1)"),
        Technique("owner's member sets role", as: "member_$db", .fresh, "SET ROLE $owner", insert),
        Technique("owner inserts", as: "holder_$db", .fresh, "INSERT INTO held VALUES (2)"),
        Technique("owner truncates", as: "holder_$db", .fresh, "TRUNCATE held"),
        Technique(
            "owner grants again", as: "holder_$db", .fresh,
            "GRANT ALL ON held TO PUBLIC", "INSERT INTO held VALUES (3)"),
        Technique(
            "owner disables the trigger", as: "holder_$db", .fresh,
            "ALTER TABLE held DISABLE TRIGGER ALL", "INSERT INTO held VALUES (4)"),
        Technique(
            "owner drops the trigger", as: "holder_$db", .fresh,
            "DROP TRIGGER \"!sluice_fence\" ON held", "INSERT INTO held VALUES (5)"),
        Technique(
            "owner rewrites by ALTER TYPE", as: "holder_$db", .fresh,
            "ALTER TABLE held ALTER n TYPE bigint USING 99"),
        Technique(
            "owner creates a table as SELECT", as: "holder_$db", .fresh,
            "CREATE TABLE copied AS SELECT 1 AS n"),
        Technique("owner selects into", as: "holder_$db", .fresh, "SELECT 1 AS n INTO copied_too"),
        Technique(
            "owner refreshes a materialized view", as: "member_$db", .fresh,
            "REFRESH MATERIALIZED VIEW summary"),
        Technique(
            "owner's procedure commits by itself", as: "holder_$db", .fresh, "CALL commits()"),
        Technique(
            "database owner creates a schema", as: "dbowner_$db", .fresh,
            "CREATE SCHEMA mine", "CREATE TABLE mine.t AS SELECT 1 AS n"),
        Technique(
            "database owner drops the fence's schema", as: "dbowner_$db", .fresh,
            "DROP SCHEMA sluice CASCADE", "DROP EVENT TRIGGER sluice_fence", insert),
        Technique(
            "owner alters default privileges", as: "holder_$db", .fresh,
            "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC"),
        Technique(
            "owner imports a foreign schema", as: "$app", .fresh,
            "IMPORT FOREIGN SCHEMA public LIMIT TO (entry) FROM SERVER loop INTO imported"),
    ]

    /// Through functions that run as somebody else.
    private static let definers: [Technique] = [
        Technique("owner's SECURITY DEFINER", as: "nobody_$db", .fresh, "SELECT owner_writes()"),
        Technique(
            "owner's SECURITY DEFINER, idle session", as: "nobody_$db",
            .idle(["SELECT owner_writes()"]),
            "SELECT owner_writes()"),
        Technique("superuser's SECURITY DEFINER", as: "nobody_$db", .fresh, "SELECT root_writes()"),
        Technique(
            "superuser's SECURITY DEFINER, idle session", as: "nobody_$db",
            .idle(["SELECT root_writes()"]),
            "SELECT root_writes()"),
        Technique(
            "superuser's SECURITY DEFINER draws from a sequence", as: "nobody_$db", .fresh,
            "SELECT root_draws()"),
        Technique(
            "superuser's SECURITY DEFINER drops the event trigger", as: "nobody_$db", .fresh,
            "SELECT root_frees()"),
        Technique(
            "superuser's SECURITY DEFINER makes a large object", as: "nobody_$db", .fresh,
            "SELECT root_objects()"),
        Technique("superuser's procedure", as: "nobody_$db", .fresh, "CALL root_commits()"),
        Technique(
            "owner's SECURITY DEFINER draws from a sequence", as: "nobody_$db", .fresh,
            "SELECT owner_draws()"),
        Technique(
            "function marked STABLE draws from a sequence", as: "nobody_$db", .fresh,
            "SELECT stable_draws()"),
        Technique(
            "function marked STABLE calls one that writes", as: "nobody_$db", .fresh,
            "SELECT stable_writes()"),
        Technique(
            "SECURITY DEFINER creates a table", as: "nobody_$db", .fresh, "SELECT owner_builds()"),
        Technique(
            "SECURITY DEFINER disables triggers", as: "nobody_$db", .fresh, "SELECT owner_frees()"),
        Technique(
            "DO block", as: "$app", .fresh,
            "DO $x$ BEGIN \(insert); EXCEPTION WHEN OTHERS THEN NULL; END $x$"),
        Technique(
            "DO block that commits", as: "$app", .fresh, "DO $x$ BEGIN \(insert); COMMIT; END $x$"),
        Technique(
            "trigger that fires before the fence's", as: "holder_$db", .fresh,
            "INSERT INTO evaded VALUES (1)"),
        Technique(
            "operator in front of pg_catalog's", as: "holder_$db", .fresh,
            "SET search_path = trap, public, pg_catalog", "INSERT INTO held VALUES (6)"),
        Technique(
            "operator in front of pg_catalog's, for DDL", as: "holder_$db",
            .idle(["SET search_path = trap, public, pg_catalog"]),
            "CREATE TABLE slipped (n integer)"),
    ]

    /// By setting what a session may set.
    private static let disguises: [Technique] = [
        Technique(
            "default_transaction_read_only off", as: "$app", .fresh,
            "SET default_transaction_read_only = off", insert),
        Technique("BEGIN READ WRITE", as: "$app", .fresh, "BEGIN READ WRITE", insert, "COMMIT"),
        Technique(
            "SET TRANSACTION READ WRITE", as: "$app", .fresh, "BEGIN", "SET TRANSACTION READ WRITE",
            insert, "COMMIT"),
        Technique(
            "set_config", as: "$app", .fresh,
            "SELECT set_config('transaction_read_only', 'off', false)", insert),
        Technique("role with a setting of its own", as: "off_$db", .fresh, insert),
        Technique(
            "role resets its own setting", as: "off_$db", .idle(["SELECT 1"]),
            "ALTER ROLE off_$db IN DATABASE $db SET default_transaction_read_only = off",
            "ALTER ROLE off_$db IN DATABASE $db RESET default_transaction_read_only", insert),
        Technique(
            "replication role replica", as: "$app", .fresh,
            "SET session_replication_role = replica", insert),
        Technique(
            "replication role replica, definer", as: "$app", .fresh,
            "SET session_replication_role = replica", "SELECT owner_writes()"),
        Technique(
            "replication role replica, DDL", as: "$app",
            .idle(["SET session_replication_role = replica"]),
            "CREATE TABLE replicated (n integer)"),
        Technique(
            "session authorization of the migrator", as: "$app", .fresh,
            "SET SESSION AUTHORIZATION $migrator", insert),
        Technique("role of the migrator", as: "$app", .fresh, "SET ROLE $migrator", insert),
        Technique(
            "name of the migrator's session", as: "$app", .fresh,
            "SET application_name = 'sluice epoch 99'", insert),
        Technique("DISCARD ALL", as: "$app", .idle(["SELECT 1"]), "DISCARD ALL", insert),
    ]

    /// Through other objects.
    private static let indirect: [Technique] = [
        Technique("updatable view", as: "$app", .fresh, "INSERT INTO entries (name) VALUES ('x')"),
        Technique(
            "updatable view, owner's member", as: "member_$db", .fresh,
            "UPDATE entries SET name = 'x'"),
        Technique("INSTEAD OF trigger", as: "$app", .fresh, "INSERT INTO instead VALUES (1)"),
        Technique(
            "INSTEAD OF trigger, owner's member", as: "member_$db", .fresh,
            "INSERT INTO instead VALUES (1)"),
        Technique("rule", as: "$app", .fresh, "INSERT INTO ruled VALUES (1)"),
        Technique("rule, owner's member", as: "member_$db", .fresh, "INSERT INTO ruled VALUES (1)"),
        Technique("rule that draws from a sequence", as: "member_$db", .fresh, "DELETE FROM ruled"),
        Technique("foreign key cascade", as: "$app", .fresh, "DELETE FROM parent WHERE id = 1"),
        Technique(
            "foreign key cascade, owner's member", as: "member_$db", .fresh,
            "UPDATE parent SET id = id + 100"),
        Technique("partitioned table", as: "member_$db", .fresh, "INSERT INTO parted VALUES (1)"),
        Technique("partition", as: "member_$db", .fresh, "INSERT INTO parted_low VALUES (2)"),
        Technique("inheritance parent", as: "member_$db", .fresh, "UPDATE base SET n = 8"),
        Technique("inheritance child", as: "member_$db", .fresh, "UPDATE ONLY derived SET n = 8"),
        Technique("unlogged table", as: "member_$db", .fresh, "INSERT INTO scratch VALUES (1)"),
        Technique(
            "foreign table", as: "$app", .fresh, "INSERT INTO far (id, name) VALUES (1000, 'x')"),
        Technique(
            "loopback over dblink", as: "$app", .fresh,
            "SELECT dblink_connect_u('host=\((try? PostgresClusterPlace.host()) ?? "") port=\((try? PostgresClusterPlace.port()) ?? 0) dbname=$db user=$app')",
            "SELECT dblink_exec('\(insert.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''"))')"
        ),
        Technique(
            "temporary table joined to a write", as: "$app",
            .idle(["CREATE TEMP TABLE t (n integer)", "INSERT INTO t VALUES (1)"]),
            "INSERT INTO entry (name) SELECT 'x' FROM t"),
        Technique(
            "temporary table of the same name", as: "member_$db",
            .idle(["CREATE TEMP TABLE base (n integer)"]),
            "INSERT INTO public.base SELECT 1"),
    ]

    private static let sequencesAndLargeObjects: [Technique] = [
        Technique("nextval", as: "$app", .fresh, "SELECT nextval('counter')"),
        Technique(
            "nextval by a right of PUBLIC", as: "nobody_$db", .fresh,
            "SELECT nextval('everyones_counter')"),
        Technique("setval", as: "$app", .fresh, "SELECT setval('counter', 99)"),
        Technique(
            "nextval by the owner", as: "holder_$db", .fresh, "SELECT nextval('held_counter')"),
        Technique(
            "setval by the owner's member", as: "member_$db", .fresh, "SELECT setval('counter', 77)"
        ),
        Technique(
            "nextval, idle session that has called it", as: "$app",
            .idle(["SELECT nextval('counter')"]),
            "SELECT nextval('counter')"),
        Technique(
            "ALTER SEQUENCE", as: "holder_$db", .fresh,
            "ALTER SEQUENCE held_counter RESTART WITH 500"),
        Technique("identity column", as: "member_$db", .fresh, "INSERT INTO loose (n) VALUES (1)"),
        Technique("lo_create", as: "$app", .fresh, "SELECT lo_create(0)"),
        Technique("lo_creat", as: "$app", .fresh, "SELECT lo_creat(-1)"),
        Technique("lo_from_bytea", as: "$app", .fresh, "SELECT lo_from_bytea(0, 'x')"),
        Technique("lo_put on an own object", as: "$app", .fresh, "SELECT lo_put(4242, 0, 'x')"),
        Technique(
            "lo_put by a right of PUBLIC", as: "nobody_$db", .fresh, "SELECT lo_put(4243, 0, 'x')"),
        Technique(
            "lowrite", as: "$app", .fresh, "BEGIN", "SELECT lowrite(lo_open(4242, 131072), 'y')",
            "COMMIT"),
        Technique(
            "lo_truncate", as: "$app", .fresh, "BEGIN",
            "SELECT lo_truncate(lo_open(4242, 131072), 0)", "COMMIT"),
        Technique(
            "large object's owner changes", as: "$app", .fresh,
            "COMMENT ON LARGE OBJECT 4242 IS 'x'",
            "GRANT ALL ON LARGE OBJECT 4242 TO PUBLIC"),
        Technique("lo_unlink", as: "$app", .fresh, "SELECT lo_unlink(4242)"),
        Technique(
            "open descriptor of a large object", as: "$app",
            .open(["SELECT lo_open(4242, 131072)"]),
            "SELECT lowrite(0, 'z')", "COMMIT"),
        Technique(
            "logical message", as: "$app", .fresh, "SELECT pg_logical_emit_message(false, 'x', 'x')"
        ),
    ]

    /// Statements that change what there is.
    private static let definitions: [Technique] = [
        "CREATE TABLE made (n integer)", "CREATE TEMP TABLE made_temp (n integer)",
        "CREATE VIEW made_view AS SELECT 1 AS n",
        "CREATE FUNCTION made() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SEQUENCE made_counter",
        "CREATE TYPE made_type AS (n integer)", "CREATE DOMAIN made_domain AS integer",
        "CREATE INDEX ON held (n)",
        "CREATE RULE made AS ON INSERT TO held DO ALSO NOTIFY made",
        "CREATE STATISTICS made_statistics ON n, (n + 1) FROM held",
        "COMMENT ON TABLE held IS 'got through'",
        "ALTER TABLE held ADD COLUMN m integer DEFAULT 1", "ALTER FUNCTION draw() STRICT",
        "CREATE TRIGGER made BEFORE INSERT ON held EXECUTE FUNCTION draw()",
    ].map { Technique("owner: \($0.prefix(40))", as: "holder_$db", .fresh, $0) }

    /// With a session that was in the middle of something when the fence went up.
    private static let oldSessions: [Technique] = [
        Technique("open transaction that has written", as: "$app", .open([insert]), "COMMIT"),
        Technique(
            "open transaction that has only read", as: "$app", .open(["SELECT * FROM entry"]),
            insert, "COMMIT"),
        Technique(
            "open transaction with a savepoint", as: "$app", .open(["SAVEPOINT s", insert]),
            "RELEASE s", "COMMIT"),
        Technique(
            "repeatable read from before", as: "holder_$db",
            .open(["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM held"]),
            "INSERT INTO held VALUES (7)", "COMMIT"),
        Technique(
            "cursor over a definer that writes", as: "nobody_$db",
            .open(["DECLARE c CURSOR FOR SELECT many()", "FETCH 1 FROM c"]), "FETCH 10 FROM c",
            "COMMIT"),
        Technique(
            "cursor over a definer, nothing fetched", as: "nobody_$db",
            .open(["DECLARE c CURSOR FOR SELECT many()"]), "FETCH 10 FROM c", "COMMIT"),
        Technique(
            "INSERT … SELECT under way", as: "$app",
            .running("INSERT INTO entry (name) SELECT 'x' FROM (SELECT $pause) AS p")),
        Technique(
            "INSERT … SELECT under way, by an owner", as: "holder_$db",
            .running("INSERT INTO held SELECT 8 FROM (SELECT $pause) AS p")),
        Technique(
            "DO block under way", as: "$app",
            .running(
                "DO $x$ BEGIN PERFORM $pause; \(insert); EXCEPTION WHEN query_canceled THEN \(insert); END $x$"
            )),
        Technique(
            "open transaction creates a table", as: "holder_$db",
            .open(["CREATE TABLE born (n integer)", "GRANT ALL ON born TO PUBLIC"]),
            "INSERT INTO born VALUES (1)", "COMMIT"),
        Technique(
            "open transaction has granted", as: "holder_$db",
            .open(["GRANT ALL ON evaded TO nobody_$db"]), "COMMIT"),
        Technique(
            "WITH HOLD cursor", as: "$app",
            .idle(["BEGIN", "DECLARE h CURSOR WITH HOLD FOR SELECT 1", "COMMIT"]),
            "FETCH 1 FROM h", insert),
        Technique(
            "deferred constraint trigger pending", as: "$app",
            .open(["SET CONSTRAINTS ALL DEFERRED", "INSERT INTO child VALUES (1)"]), "COMMIT"),
        Technique(
            "open transaction is prepared", as: "$app", .open([insert]),
            "PREPARE TRANSACTION 'late_$db'",
            "COMMIT PREPARED 'late_$db'"),
        Technique(
            "advisory lock and a write", as: "$app", .idle(["SELECT pg_advisory_lock(1)"]), insert),
        Technique(
            "LISTEN, NOTIFY and a write", as: "$app", .idle(["LISTEN x"]), "BEGIN", "NOTIFY x",
            insert, "COMMIT"),
    ]

    private static let twoPhase: [Technique] = [
        Technique(
            "new transaction is prepared", as: "$app", .fresh, "BEGIN", insert,
            "PREPARE TRANSACTION 'new_$db'",
            "COMMIT PREPARED 'new_$db'")
    ]

    /// After these there is less to attack, so they come last.
    private static let destructive: [Technique] = [
        Technique(
            "owner renames a table", as: "holder_$db", .fresh, "ALTER TABLE held RENAME TO renamed"),
        Technique(
            "owner drops a sequence", as: "holder_$db", .fresh, "DROP SEQUENCE held_counter CASCADE"
        ),
        Technique(
            "owner gives the table away", as: "member_$db", .fresh,
            "ALTER TABLE base OWNER TO member_$db", "INSERT INTO base VALUES (1)"),
        Technique("owner drops the table", as: "holder_$db", .fresh, "DROP TABLE evaded"),
        Technique(
            "owner drops all that is owned", as: "holder_$db", .fresh, "DROP OWNED BY holder_$db"),
    ]

    /// On what the migration has made, which default privileges would open to everybody.
    private static let afterwards: [Technique] = [
        Technique(
            "new table, by default privileges", as: "$app", .fresh,
            "INSERT INTO born_new VALUES (1)"
        ).afterMigration,
        Technique(
            "new table, by PUBLIC", as: "nobody_$db", .idle(["SELECT 1"]),
            "INSERT INTO born_new VALUES (1)"
        ).afterMigration,
        Technique(
            "new table, by pg_write_all_data", as: "writer_$db", .idle(["SELECT 1"]),
            "INSERT INTO born_new VALUES (1)"
        ).afterMigration,
        Technique(
            "new table of the owner", as: "member_$db", .fresh, "INSERT INTO born_owned VALUES (1)"
        ).afterMigration,
        Technique("new sequence", as: "$app", .fresh, "SELECT nextval('born_counter')")
            .afterMigration,
        Technique("new definer function", as: "nobody_$db", .fresh, "SELECT born_function()")
            .afterMigration,
        Technique("right granted by the migration", as: "nobody_$db", .fresh, insert)
            .afterMigration,
        Technique(
            "old table, after the migration", as: "member_$db", .idle(["SELECT 1"]),
            "INSERT INTO base VALUES (9)"
        ).afterMigration,
        Technique(
            "nextval, after the migration", as: "holder_$db", .fresh,
            "SELECT nextval('held_counter')"
        ).afterMigration,
        Technique("new partition", as: "member_$db", .fresh, "INSERT INTO parted VALUES (150)")
            .afterMigration,
        Technique("new large object", as: "$app", .fresh, "SELECT lo_create(0)").afterMigration,
    ]

    /// PostgreSQL has no event trigger for these: they change who owns and who belongs to whom, but not what is stored, and open
    /// nothing.
    private static let ofWhoNotWhat: [Technique] = [
        Technique(
            "pg_write_all_data passed on", as: "writer_$db", .fresh,
            "GRANT pg_write_all_data TO $app", insert, "UPDATE entry SET name = 'passed on'",
            "SELECT nextval('counter')"
        ).ofWhoNotWhat,
        Technique(
            "admin option joins a group", as: "passer_$db", .fresh,
            "GRANT group_$db TO nobody_$db", "SET ROLE group_$db", "DELETE FROM entry"
        ).ofWhoNotWhat,
        Technique(
            "owner reassigns", as: "member_$db", .fresh, "REASSIGN OWNED BY $owner TO member_$db",
            "GRANT ALL ON entry TO PUBLIC", insert, "SELECT nextval('counter')"
        ).ofWhoNotWhat,
    ]
}
