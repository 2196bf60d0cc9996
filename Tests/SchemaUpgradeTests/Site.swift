// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// A database with a small application in it, for one test.
struct Site {
    let cluster: PostgresCluster
    let database: String
    /// A session of the cluster's own superuser, for looking.
    let observer: PostgresConnection
    /// Whether the migrator is a superuser, or a member of the owners.
    var level = FenceLevel.complete

    var migrator: String { "migrator_\(database)" }
    var owner: String { "owner_\(database)" }
    var application: String { "application_\(database)" }
    var address: String { cluster.address(database, user: migrator) }

    /// Roles, a table with rows, a sequence and a view; more by `schema`, in which `$app` and `$owner` stand for the roles.
    static func make(
        _ schema: String = "", level: FenceLevel = .complete, on server: PostgresCluster? = nil
    ) async throws -> Site {
        let cluster = try server ?? PostgresCluster.shared.get()
        let database = try cluster.makeDatabase("site")
        let observer = try await PostgresConnection.connect(
            ConnectionOptions(address: cluster.address(database), applicationName: "observer"))
        let site = Site(
            cluster: cluster, database: database, observer: observer, level: level)
        try await site.asSuperuser(
            """
            CREATE FUNCTION pg_temp.content(object oid, kind "char") RETURNS text LANGUAGE plpgsql AS $content$
            DECLARE content text;
            BEGIN
                EXECUTE format(CASE kind WHEN 'S' THEN 'SELECT last_value::text || is_called FROM %s'
                    ELSE 'SELECT string_agg(concat_ws('' '', t.xmin, t.*), chr(10)) FROM %s AS t' END, object::regclass) INTO content;
                RETURN md5(content);
            END $content$;
            CREATE ROLE \(site.migrator) LOGIN SUPERUSER;
            CREATE ROLE $owner NOLOGIN;
            CREATE ROLE $app LOGIN;
            GRANT ALL ON SCHEMA public TO $owner;
            GRANT USAGE ON SCHEMA public TO $app;
            SET ROLE $owner;
            CREATE TABLE entry (id serial PRIMARY KEY, name text NOT NULL);
            INSERT INTO entry (name) SELECT 'Ada Lovelace ' || n FROM generate_series(1, 10) AS n;
            GRANT SELECT, INSERT, UPDATE, DELETE ON entry TO $app;
            GRANT USAGE, SELECT ON SEQUENCE entry_id_seq TO $app;
            ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO $app;
            RESET ROLE;
            """ + schema)
        if level == .owner { try await site.asSuperuser(membership) }
        return site
    }

    /// What a migrator needs who is no superuser. Only the roles of this site may connect: those of other tests have memberships
    /// that hold for all databases.
    static let membership = """
        ALTER ROLE $migrator NOSUPERUSER; GRANT $owner, pg_read_all_stats, pg_signal_backend TO $migrator;
        GRANT CREATE ON DATABASE $db TO $migrator; REVOKE CONNECT ON DATABASE $db FROM PUBLIC;
        DO $x$ DECLARE r record; BEGIN
            FOR r IN SELECT oid FROM pg_roles WHERE rolname LIKE '%\\_$db' LOOP
                EXECUTE format('GRANT CONNECT ON DATABASE $db TO %s', r.oid::regrole);
            END LOOP;
        END $x$
        """

    func named(_ sql: String) -> String {
        [("$owner", owner), ("$app", application), ("$migrator", migrator), ("$db", database)]
            .reduce(sql) { text, pair in
                text.split(separator: pair.0, omittingEmptySubsequences: false).joined(
                    separator: pair.1)
            }
    }

    @discardableResult
    func asSuperuser(_ sql: String) async throws -> Rows { try await observer.execute(named(sql)) }

    func connect(as role: String) async throws -> PostgresConnection {
        let connection = try await PostgresConnection.connect(
            ConnectionOptions(
                address: cluster.address(database, user: named(role)),
                applicationName: "application"))
        // A test that waits for a lock has gone wrong already, and should say so.
        try await connection.execute("SET lock_timeout = '150ms'; SET statement_timeout = '20s'")
        return connection
    }

    func upgrade(
        _ migrations: MigrationSet = .empty,
        change: (inout SchemaUpgrade.Configuration) -> Void = { _ in }
    ) -> SchemaUpgrade {
        var configuration = SchemaUpgrade.Configuration(
            address: address, migrations: migrations, drainTimeout: .milliseconds(300),
            lockPatience: .seconds(5), trialBudget: .seconds(20), owner: owner,
            trustedSuperusers: ["postgres"], level: level, accepted: Set(FenceGap.allCases))
        change(&configuration)
        return SchemaUpgrade(configuration)
    }

    /// What must be the same after a fence as before it: one line for each fact.
    func catalog() async throws -> [String] {
        let query = Site.catalogQuery()
        // Where a default stands as NULL, a GRANT writes it out.
        let meaning = query.replacing(
            "relowner, relacl::text",
            with:
                "relowner, CASE relkind WHEN 'S' THEN coalesce(relacl, acldefault('s', relowner)) ELSE relacl END::text"
        )
        return try await observer.query(level == .owner ? meaning : query).map { $0.text(0) }
    }

    func schemaDump() throws -> String {
        // pg_dump 15.14 and later put a random key into \restrict lines.
        try cluster.schemaDump(database).split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !$0.hasPrefix("\\restrict") && !$0.hasPrefix("\\unrestrict") }.joined(
                separator: "\n")
    }

    /// - Parameter first: objects with a lower number are PostgreSQL's own, when it is 16384.
    static func catalogQuery(from first: Int = 0) -> String {
        """
        WITH own AS (SELECT oid FROM pg_namespace WHERE nspname IN ('sluice', 'pg_toast'))
        SELECT concat_ws(' ', 'relation', oid, relname, relkind, relowner, relacl::text, relpersistence, relrowsecurity)
            FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM own) AND oid >= \(first)
        UNION ALL SELECT concat_ws(' ', 'column', attrelid, attnum, attname, attacl::text, attisdropped)
            FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace NOT IN (SELECT oid FROM own)
            AND c.oid >= \(first)
        UNION ALL SELECT concat_ws(' ', 'function', oid, proname, proowner, prosecdef, proacl::text,
            provolatile, proisstrict, md5(prosrc))
            FROM pg_proc WHERE pronamespace NOT IN (SELECT oid FROM own) AND oid >= \(first)
        UNION ALL SELECT concat_ws(' ', 'trigger', t.oid, tgrelid, tgname, tgenabled, tgtype)
            FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace NOT IN (SELECT oid FROM own)
        UNION ALL SELECT concat_ws(' ', 'type', oid, typname, typowner, typacl::text) FROM pg_type
            WHERE typnamespace NOT IN (SELECT oid FROM own) AND oid >= \(first)
        UNION ALL SELECT concat_ws(' ', 'rule', r.oid, ev_class, rulename) FROM pg_rewrite r JOIN pg_class c
            ON c.oid = ev_class WHERE relnamespace NOT IN (SELECT oid FROM own) AND r.oid >= \(first)
        UNION ALL SELECT concat_ws(' ', 'statistics', oid, stxname) FROM pg_statistic_ext
        UNION ALL SELECT concat_ws(' ', 'comment', classoid, objoid, objsubid, description) FROM pg_description
            WHERE objoid >= \(first) AND description NOT LIKE 'Sluice:%'
        UNION ALL SELECT concat_ws(' ', 'event trigger', oid, evtname, evtenabled) FROM pg_event_trigger
        UNION ALL SELECT concat_ws(' ', 'membership', roleid, member, grantor, to_jsonb(m) - 'oid') FROM pg_auth_members AS m
            WHERE member IN (SELECT oid FROM pg_roles WHERE rolname LIKE '%' || current_database())
        UNION ALL SELECT concat_ws(' ', 'setting', setdatabase, setrole, setconfig::text) FROM pg_db_role_setting
            WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
            OR setdatabase = 0 AND setrole IN (SELECT oid FROM pg_roles WHERE rolname LIKE '%' || current_database())
        UNION ALL SELECT concat_ws(' ', 'role', oid, rolname, rolsuper, rolcreaterole, rolcanlogin) FROM pg_roles
            WHERE rolname LIKE '%' || current_database()
        UNION ALL SELECT concat_ws(' ', 'default rights', oid, defaclrole, defaclobjtype, defaclacl::text) FROM pg_default_acl
        UNION ALL SELECT concat_ws(' ', 'schema', oid, nspname, nspowner, nspacl::text) FROM pg_namespace
            WHERE oid NOT IN (SELECT oid FROM own) AND nspname !~ '^pg_(toast_)?temp'
        UNION ALL SELECT concat_ws(' ', 'rights of', dbid, classid, objid, objsubid, refobjid) FROM pg_shdepend
            WHERE deptype = 'a' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT concat_ws(' ', 'initial', objoid, classoid, objsubid, initprivs::text) FROM pg_init_privs WHERE objoid >= \(first)
        UNION ALL SELECT concat_ws(' ', 'large object', oid, lomowner, lomacl::text) FROM pg_largeobject_metadata
        ORDER BY 1
        """
    }
}

extension DatabaseTask.Kind {
    /// The tasks of a standby.
    static let ofStandby: Set<DatabaseTask.Kind> = [
        .freezeStandby, .feedStandby, .promoteBehindFence, .promoteStandby, .pauseManager,
        .resumeManager,
    ]
}

extension SchemaUpgrade {
    /// Performs a task of the run `r1` and expects it to be done.
    @discardableResult
    func done(
        _ kind: DatabaseTask.Kind, epoch: Int64 = 1, run: String = "r1", attempt: Int = 1,
        _ location: SourceLocation = #_sourceLocation
    ) async throws -> DatabaseReport {
        switch await perform(kind, epoch: epoch, run: run, attempt: attempt) {
        case .done(let report): return report
        case .failed(let failure):
            Issue.record("\(kind): \(failure)", sourceLocation: location)
            throw failure
        }
    }

    /// Performs a task and expects it to fail.
    func failure(
        _ kind: DatabaseTask.Kind, epoch: Int64 = 1, run: String = "r1",
        _ location: SourceLocation = #_sourceLocation
    ) async throws -> DatabaseFailure {
        switch await perform(kind, epoch: epoch, run: run) {
        case .failed(let failure): return failure
        case .done(let report):
            Issue.record("\(kind) was done: \(report.lines)", sourceLocation: location)
            throw CancellationError()
        }
    }

    func perform(
        _ kind: DatabaseTask.Kind, epoch: Int64 = 1, run: String = "r1", attempt: Int = 1
    ) async -> DatabaseOutcome {
        await perform(
            DatabaseTask(
                kind: kind, run: RunIdentifier(unchecked: run), epoch: Epoch(rawValue: epoch),
                attempt: attempt))
    }
}

extension MigrationSet {
    /// Expand, switch and contract of one release, each with a way back.
    static func guestbook() throws -> MigrationSet {
        try read([
            File(
                name: "0001_add_flag.up.sql",
                text: "-- sluice: expand\nALTER TABLE entry ADD COLUMN flag boolean;"),
            File(name: "0001_add_flag.down.sql", text: "ALTER TABLE entry DROP COLUMN flag;"),
            File(
                name: "0002_split_name.up.sql",
                text: """
                    ALTER TABLE entry ADD COLUMN first text, ADD COLUMN last text;
                    UPDATE entry SET first = split_part(name, ' ', 1), last = split_part(name, ' ', 2);
                    CREATE TABLE person (id serial PRIMARY KEY, name text);
                    INSERT INTO person (name) SELECT name FROM entry;
                    """),
            File(
                name: "0002_split_name.down.sql",
                text: "DROP TABLE person; ALTER TABLE entry DROP COLUMN first, DROP COLUMN last;"),
            File(
                name: "0003_index.up.sql",
                text: "-- sluice: contract\nCREATE INDEX CONCURRENTLY entry_last ON entry (last);"),
        ])
    }
}

/// Asks again until it is so, for a minute at most: the machine may be busy.
func poll(
    _ condition: () async throws -> Bool, _ location: SourceLocation = #_sourceLocation
) async throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(60))
    while try await !condition() {
        try #require(
            ContinuousClock.now < deadline, "it never came to be so", sourceLocation: location)
        try await Task.sleep(for: .milliseconds(5))
    }
}
