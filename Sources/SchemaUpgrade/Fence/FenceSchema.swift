// SPDX-License-Identifier: Apache-2.0

/// What Sluice keeps in a database: the schema `sluice` with the epoch, the ledger, and what a fence has stored.
///
/// The schema stays between runs, because the epoch has to; everything else of a fence goes away with it. All functions are
/// called with `search_path = pg_catalog`, so nothing that an application owns can stand in for an operator or a function.
enum FenceSchema {
    /// Kept in the schema's comment; a lower one there means that the schema has to be brought up to date.
    static let version = 8
    /// How the comment of every version begins.
    static let family = "Sluice: epoch, ledger and fence, "
    /// How it ends where a migrator has made the schema who is no superuser: some functions differ.
    private static let byMember = " by a member of the owners"

    /// What the comment of a schema says of its version. A version that cannot be read comes from later than this one.
    ///
    /// - Parameter isComplete: whether the migrator is a superuser. What was made under the other kind is made anew.
    static func compare(toOwn comment: String, isComplete: Bool) -> SchemaUpgrade.Installation {
        let isByMember = comment.hasSuffix(byMember)
        let number = comment.dropFirst(family.count).dropLast(isByMember ? byMember.count : 0)
        guard let found = Int(number) else { return .newer }
        if found == version { return isByMember == isComplete ? .older : .current }
        return found < version ? .older : .newer
    }

    /// The trigger on each table. It begins with a character that sorts before letters, so it fires first.
    static let trigger = "!sluice_fence"
    static let eventTrigger = "sluice_fence"

    /// Schemas that are no application's.
    static let foreignSchemas = "('pg_catalog', 'information_schema', 'pg_toast', 'sluice')"

    /// Safe to run again; needs a transaction.
    static var install: String {
        quietly + tables + LedgerSchema.install + guards + claims + FenceRights.install
            + FencePass.install + tableTriggers
            + privacy
    }

    /// Sluice's own definitions are no business of the application's event triggers: one that gives every new object to
    /// another role, or writes it down, or refuses it, would do so with ours.
    ///
    /// A session in replication role `replica` skips those in their usual mode; 17 and later can skip the others as well, and
    /// preflight names them on a server that cannot, and to a migrator who may not.
    static let quietly = """
        SELECT pg_catalog.set_config(name, value, true)
        FROM (VALUES ('session_replication_role', 'replica'), ('event_triggers', 'off')) AS quiet (name, value)
        WHERE pg_catalog.current_setting(name, true) IS NOT NULL AND EXISTS (SELECT FROM pg_catalog.pg_roles
            WHERE rolname OPERATOR(pg_catalog.=) session_user AND rolsuper);

        """

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
        DO $comment$
        BEGIN
            EXECUTE pg_catalog.format('COMMENT ON SCHEMA sluice IS %L', '\(family)\(version)' || (
                SELECT CASE WHEN rolsuper THEN '' ELSE '\(byMember)' END FROM pg_catalog.pg_roles
                WHERE rolname OPERATOR(pg_catalog.=) session_user));
        END $comment$;
        CREATE TABLE IF NOT EXISTS sluice.epoch (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            epoch bigint NOT NULL,
            run text NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp());
        -- The run whose fence was lowered last.
        ALTER TABLE sluice.epoch ADD COLUMN IF NOT EXISTS lifted text;
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
        -- While a pass is open: the roles whose sessions may have it, and the digest of its secret.
        ALTER TABLE sluice.fence ADD COLUMN IF NOT EXISTS passes text[], ADD COLUMN IF NOT EXISTS pass text;
        CREATE TABLE IF NOT EXISTS sluice.stored (
            kind text NOT NULL,
            object oid NOT NULL,
            part integer NOT NULL,
            detail text NOT NULL DEFAULT '',
            before text[],
            PRIMARY KEY (kind, object, part, detail));

        """

    /// Membership in `pg_write_all_data` reaches every table, these too; so only superusers and the migrator get past a trigger.
    private static let guards = """
        CREATE OR REPLACE FUNCTION sluice.refuse_stranger() RETURNS trigger LANGUAGE plpgsql AS $guard$
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r
                WHERE (r.rolname OPERATOR(pg_catalog.=) session_user OR r.rolname OPERATOR(pg_catalog.=) current_user)
                    AND (r.rolsuper OR r.oid OPERATOR(pg_catalog.=) (SELECT n.nspowner FROM pg_catalog.pg_namespace AS n
                        WHERE n.nspname OPERATOR(pg_catalog.=) 'sluice'::pg_catalog.name))) THEN
                RAISE EXCEPTION 'the tables of schema sluice are not for applications' USING ERRCODE = '42501';
            END IF;
            RETURN NULL;
        END $guard$;
        DO $install$
        DECLARE name text;
        BEGIN
            FOREACH name IN ARRAY ARRAY['epoch', 'migration', 'progress', 'fence', 'stored', 'tool_before'] LOOP
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
                RAISE EXCEPTION 'the fence of run % is up since %', fence.run, \(utcText("fence.raised_at"))
                    USING ERRCODE = '\(Refusal.fenceHeld.rawValue)',
                        HINT = format('\(heldAdvice("%1$s"))', fence.run);
            END IF;
            RETURN fence;
        END $keep$;

        -- Makes the fence this run's. What an earlier lift has left of its triggers is taken over.
        CREATE OR REPLACE FUNCTION sluice.claim_fence(task_epoch bigint, task_run text) RETURNS void LANGUAGE plpgsql AS $claim$
        BEGIN
            PERFORM sluice.claim(task_epoch, task_run);
            INSERT INTO sluice.fence AS f (state, run, epoch) VALUES ('raising', task_run, task_epoch)
                ON CONFLICT (one) DO UPDATE SET state = 'raising', run = excluded.run, epoch = excluded.epoch,
                    raised_at = excluded.raised_at, older = NULL, census_transaction = NULL, passes = NULL, pass = NULL,
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
                HINT = 'the fence has to go up, and the census to be taken, again';
        END $expect$;

        """

    /// A time for people, to the second.
    static func utcText(_ expression: String) -> String {
        "to_char(\(expression) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')"
    }

    /// What to do about the run whose fence is up, or that is at work on the database.
    static func heldAdvice(_ run: String) -> String {
        "wait until that run has ended, as `sluice status \(run) --watch` shows, or undo it with `sluice rollback \(run)`"
    }

    /// The trigger on every table. Tables that are locked are passed over and counted, for another try.
    private static let tableTriggers = """
        CREATE OR REPLACE VIEW sluice.unfenced_table AS
            SELECT c.oid FROM pg_class AS c
            WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND sluice.is_ours(c.relowner)
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreignSchemas))
                AND NOT EXISTS (SELECT FROM pg_trigger AS t
                    WHERE t.tgrelid = c.oid AND t.tgname = '\(trigger)' AND t.tgenabled = 'A');

        CREATE OR REPLACE FUNCTION sluice.fence_table(unfenced oid) RETURNS void LANGUAGE plpgsql AS $fence$
        BEGIN
            -- A foreign table takes no TRUNCATE trigger; what it empties is not in this database.
            EXECUTE format('CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE %s ON %s
                FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_write()', '\(trigger)',
                CASE WHEN EXISTS (SELECT FROM pg_foreign_table WHERE ftrelid = unfenced) THEN ''
                ELSE 'OR TRUNCATE' END, unfenced::regclass);
            EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', unfenced::regclass, '\(trigger)');
        END $fence$;

        CREATE OR REPLACE FUNCTION sluice.fence_tables(at_most integer) RETURNS integer LANGUAGE plpgsql AS $fence$
        DECLARE found_table oid; busy integer := 0;
        BEGIN
            FOR found_table IN SELECT oid FROM sluice.unfenced_table ORDER BY oid LIMIT at_most LOOP
                BEGIN
                    PERFORM sluice.fence_table(found_table);
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
        DECLARE found_table oid; left_over bigint; of_strangers bigint;
        BEGIN
            -- Another may have finished the lift meanwhile, and a new fence may be up.
            IF NOT EXISTS (SELECT FROM sluice.fence WHERE state = 'lifting') THEN RETURN 0; END IF;
            FOR found_table IN SELECT t.tgrelid FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
                WHERE t.tgname = '\(trigger)' AND sluice.is_ours(c.relowner)
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
            SELECT count(*) FILTER (WHERE sluice.is_ours(c.relowner)), count(*) FILTER (WHERE NOT sluice.is_ours(c.relowner))
                INTO left_over, of_strangers
                FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid WHERE t.tgname = '\(trigger)';
            IF left_over = 0 THEN
                -- A table that was given away while the fence was up keeps its trigger, which lets everything through.
                IF of_strangers = 0 THEN DROP FUNCTION IF EXISTS sluice.refuse_write(); END IF;
                -- It stays as long as a statement of the window does.
                DROP EVENT TRIGGER IF EXISTS \(eventTrigger);
                DROP FUNCTION IF EXISTS sluice.refuse_change();
                DELETE FROM sluice.stored;
                DELETE FROM sluice.fence;
            END IF;
            RETURN left_over;
        END $finish$;
        DROP FUNCTION IF EXISTS sluice.unfence_tables(integer);
        DO $quiet$
        DECLARE name text; value text;
        BEGIN
            IF NOT sluice.is_complete() THEN RETURN; END IF;
            ALTER FUNCTION sluice.fence_table(oid) SET sluice.fencing = 'on';
            FOR name, value IN SELECT * FROM (VALUES ('session_replication_role', 'replica'), ('event_triggers', 'off')) AS v LOOP
                IF current_setting(name, true) IS NULL THEN CONTINUE; END IF;
                EXECUTE format('ALTER FUNCTION sluice.fence_tables(integer) SET %I = %L', name, value);
                EXECUTE format('ALTER FUNCTION sluice.finish_lift(integer) SET %I = %L', name, value);
                EXECUTE format('ALTER FUNCTION sluice.fence_new() SET %I = %L', name, value);
            END LOOP;
        END $quiet$;

        """

    /// Default privileges may open new schemas, tables and functions to everybody; these stay the owner's alone.
    static let privacy = """
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
                    REVOKE ALL ON ALL SEQUENCES IN SCHEMA sluice FROM %1$s;
                    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sluice FROM %1$s',
                    CASE WHEN r.grantee = 0 THEN 'PUBLIC' ELSE r.grantee::regrole::text END);
            END LOOP;
        END $privacy$;

        """
}
