// SPDX-License-Identifier: Apache-2.0

/// What a freeze keeps on the primary, in the schema `sluice`: whose it is, how far it has come, and what was set before.
///
/// The standby gets the row before it is frozen, with the state `freezing`: a standby that shows another state has followed on.
enum StandbySchema {
    /// Needs a transaction, and the schema `sluice` as it is now.
    static let install =
        FenceSchema.quietly + """
            CREATE TABLE IF NOT EXISTS sluice.standby (
                one boolean PRIMARY KEY DEFAULT true CHECK (one),
                run text NOT NULL,
                epoch bigint NOT NULL,
                -- 'shut': nobody writes on this server any more, because its standby takes its place.
                state text NOT NULL CHECK (state IN ('freezing', 'frozen', 'feeding', 'shut')),
                slot text NOT NULL,
                -- Whether ALTER SYSTEM had set them on the standby.
                conninfo_set boolean NOT NULL,
                restore_set boolean NOT NULL,
                -- What synchronous_standby_names was and has been made; NULL where the standby was not in it.
                synchronous text,
                synchronous_set boolean,
                synchronous_meanwhile text,
                connection_limit integer,
                lsn text,
                at timestamptz NOT NULL DEFAULT clock_timestamp());
            CREATE OR REPLACE TRIGGER stranger BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
                ON sluice.standby FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_stranger();
            ALTER TABLE sluice.standby ENABLE ALWAYS TRIGGER stranger;

            """ + FenceSchema.privacy

    static let exists = "to_regclass('sluice.standby') IS NOT NULL"
}

/// What `sluice.standby` says.
struct FrozenRow: Sendable {
    var run: String
    var state: String
    var slot: String
    var isConninfoSet: Bool
    var isRestoreSet: Bool
    var synchronous: String?
    var isSynchronousSet: Bool
    var synchronousMeanwhile: String?
    var lsn: String?

    static let query = """
        SELECT run, state, slot, conninfo_set, restore_set, synchronous, synchronous_set, synchronous_meanwhile, lsn
        FROM sluice.standby
        """
}
