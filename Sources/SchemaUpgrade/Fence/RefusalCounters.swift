// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Counts what a fence refuses, by table, in sequences: all that a refused statement writes is rolled back, and a number that it has
/// drawn is not.
///
/// They are made before the window and dropped after it, so that in the window nothing is done but to draw and to read. Each run has
/// its own, by its name; those of two runs on one database never meet. On 15 and later they are unlogged: whoever draws gets no
/// transaction number by it.
struct RefusalCounters {
    /// So many tables have a counter of their own: those that are written most. The rest share one.
    static let most = 200
    /// The table's number of the counter that the rest shares.
    static let rest = "0"

    /// `refused_1a2b3c4d_`, to which the table's number is added.
    let prefix: String

    init(of run: RunIdentifier) {
        // FNV-1a.
        let hash = run.rawValue.utf8.reduce(UInt32(2_166_136_261)) {
            ($0 ^ UInt32($1)) &* 16_777_619
        }
        let digits = String(hash, radix: 16)
        prefix = "refused_" + String(repeating: "0", count: 8 - digits.count) + digits + "_"
    }

    /// In a trigger that is about to refuse. Nothing of it may stand before the refusal: a counter may be gone, or belong to
    /// somebody else, and a read-only transaction draws no number.
    var count: String {
        """
        BEGIN
            PERFORM pg_catalog.nextval(coalesce(
                pg_catalog.to_regclass(pg_catalog.concat('sluice.\(prefix)', TG_RELID)),
                pg_catalog.to_regclass('sluice.\(prefix)\(RefusalCounters.rest)')));
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        """
    }

    /// Makes those that are not there. A partition is counted with the table that it is a part of, for that is whose trigger fires.
    var make: String {
        """
        DO $counters$
        DECLARE
            found record;
            other record;
            kind text := CASE WHEN current_setting('server_version_num')::integer < 150000 THEN '' ELSE 'UNLOGGED' END;
        BEGIN
            FOR found IN SELECT 0::oid AS oid, 'other tables' AS name UNION ALL (
                SELECT c.oid, \(RefusalCounters.name("c", "n")) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                    LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid
                WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND NOT c.relispartition
                    AND sluice.is_ours(c.relowner) AND n.nspname NOT IN \(FenceSchema.foreignSchemas)
                ORDER BY c.relkind = 'p' DESC, coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0) DESC, c.oid
                LIMIT \(RefusalCounters.most))
            LOOP
                IF to_regclass('sluice.\(prefix)' || found.oid) IS NOT NULL THEN CONTINUE; END IF;
                EXECUTE format('CREATE %s SEQUENCE sluice.\(prefix)%s', kind, found.oid);
                EXECUTE format('COMMENT ON SEQUENCE sluice.\(prefix)%s IS %L', found.oid, '\(RefusalCounters.comment)' || found.name);
                -- Default privileges may open it.
                FOR other IN SELECT DISTINCT e.grantee FROM pg_class AS c, aclexplode(c.relacl) AS e
                    WHERE c.oid = to_regclass('sluice.\(prefix)' || found.oid) AND e.grantee <> c.relowner
                LOOP
                    EXECUTE format('REVOKE ALL ON SEQUENCE sluice.\(prefix)%s FROM %s', found.oid,
                        CASE WHEN other.grantee = 0 THEN 'PUBLIC' ELSE other.grantee::regrole::text END);
                END LOOP;
            END LOOP;
        END $counters$;

        """
    }

    /// What each table was called when its counter was made: a migration may drop or rename it.
    private static let comment = "Sluice: refusals of "

    private static func name(_ table: String, _ schema: String) -> String {
        "CASE WHEN \(schema).nspname = 'public' THEN format('%I', \(table).relname) ELSE \(table).oid::regclass::text END"
    }

    private static let all = "c.relkind = 'S' AND c.relnamespace = 'sluice'::regnamespace"

    /// Whoever was refused and goes on after that keeps a lock on the counter.
    static let ofAllRuns = """
        SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind = 'S' AND n.nspname = 'sluice'
        """

    private var own: String { "\(RefusalCounters.all) AND starts_with(c.relname, '\(prefix)')" }

    /// Rows of the table's name and of how often it was refused, for those that were; one of the rest, with NULL as its name, in any
    /// case.
    var read: String {
        """
        SELECT CASE WHEN s.relname <> '\(prefix)\(RefusalCounters.rest)'
                THEN coalesce(substr(obj_description(s.oid, 'pg_class'), \(RefusalCounters.comment.count + 1)), '?') END,
            coalesce(s.drawn, 0)
        FROM (SELECT c.oid, c.relname, pg_sequence_last_value(c.oid) AS drawn FROM pg_class AS c WHERE \(own) OFFSET 0) AS s
        WHERE s.drawn IS NOT NULL OR s.relname = '\(prefix)\(RefusalCounters.rest)'
        """
    }

    /// Drops those of this run. One that a transaction holds, which was refused and goes on all the same, stays until a later run
    /// drops it.
    var drop: String { RefusalCounters.drop(own) }

    /// Drops what other runs have left: whose fence is up, or who is at work here, still counts.
    var dropLeftOver: String {
        RefusalCounters.drop(
            """
            \(RefusalCounters.all) AND c.relname ~ '^refused_[0-9a-f]{8}_[0-9]+$' AND NOT starts_with(c.relname, '\(prefix)')
                AND NOT EXISTS (SELECT FROM sluice.fence) AND NOT EXISTS (SELECT FROM \(SchemaUpgrade.otherSessions) AS o)
            """)
    }

    private static func drop(_ condition: String) -> String {
        """
        SET LOCAL lock_timeout = '10ms';
        DO $drop$
        DECLARE found record;
        BEGIN
            FOR found IN SELECT c.oid::regclass AS name FROM pg_class AS c WHERE \(condition) LOOP
                BEGIN
                    EXECUTE format('DROP SEQUENCE IF EXISTS %s', found.name);
                EXCEPTION WHEN lock_not_available OR deadlock_detected OR insufficient_privilege OR undefined_table THEN NULL;
                END;
            END LOOP;
        END $drop$;

        """
    }
}
