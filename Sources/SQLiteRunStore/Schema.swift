// SPDX-License-Identifier: Apache-2.0

import GRDB
import RunStore

/// The version of the tables, in the file's `user_version`.
private let schemaVersion = 1
/// `SLUC` in the file's header: what `file` and another program see.
private let applicationID = 0x534C_5543

/// Makes the tables in an empty file, and refuses a file that another program or a later version has made.
func prepareSchema(of db: Database) throws {
    let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    if version == schemaVersion { return }
    guard version == 0, try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") == 0 else {
        throw StoreFailure.corrupt(
            """
            the file has tables of version \(version), this program knows \(schemaVersion): a later version of sluice or \
            another program made it; start that version, or give another --data directory
            """)
    }
    try db.inTransaction(.immediate) {
        // Two processes may begin at the same time: the second finds the tables made.
        guard try Int.fetchOne(db, sql: "PRAGMA user_version") == 0 else { return .commit }
        try db.execute(sql: tables)
        try db.execute(sql: "PRAGMA application_id = \(applicationID)")
        try db.execute(sql: "PRAGMA user_version = \(schemaVersion)")
        return .commit
    }
}

private let tables = """
    CREATE TABLE leader (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        epoch INTEGER NOT NULL CHECK (epoch >= 0),
        holder TEXT NOT NULL
    ) STRICT;
    INSERT INTO leader VALUES (1, 0, '');

    CREATE TABLE run (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL UNIQUE,
        fleet TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        version INTEGER NOT NULL,
        chain BLOB NOT NULL
    ) STRICT;

    CREATE TABLE event (
        run TEXT NOT NULL REFERENCES run (run),
        version INTEGER NOT NULL CHECK (version > 0),
        epoch INTEGER NOT NULL,
        at INTEGER NOT NULL,
        body BLOB NOT NULL,
        chain BLOB NOT NULL,
        PRIMARY KEY (run, version)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX event_at ON event (at);

    -- One run per fleet at a time: the primary key is the rule.
    CREATE TABLE claim (
        fleet TEXT PRIMARY KEY,
        run TEXT NOT NULL UNIQUE REFERENCES run (run),
        since INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE node (
        name TEXT PRIMARY KEY,
        labels TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE token (
        hash TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('node', 'operator')),
        name TEXT NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX token_of ON token (kind, name);
    """
