// SPDX-License-Identifier: Apache-2.0

/// What the ledger keeps of files that run statement by statement, beside `sluice.migration`.
enum LedgerSchema {
    /// A file that is under way: how many of its statements have taken effect, and whether the next one was begun and has not
    /// answered. `invalid` are the indexes that were invalid before that one began; they are nobody's of this run.
    static let install = """
        CREATE TABLE IF NOT EXISTS sluice.progress (
            version text NOT NULL,
            direction text NOT NULL CHECK (direction IN ('up', 'down')),
            digest text NOT NULL,
            run text NOT NULL,
            epoch bigint NOT NULL,
            done integer NOT NULL DEFAULT 0,
            begun boolean NOT NULL DEFAULT false,
            invalid oid[] NOT NULL DEFAULT '{}',
            at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (version, direction));
        -- What a migration tool's ledger and the schema were before it ran outside the window; a fence's own are `sluice.stored`.
        CREATE TABLE IF NOT EXISTS sluice.tool_before (
            run text NOT NULL,
            moment text NOT NULL,
            part integer NOT NULL,
            texts text[] NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (run, moment, part));

        """
}
