// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
public import RunStore
public import UpgradeModel

extension SQLiteRunStore: Journal {
    /// One transaction. The coordinator's loop alone appends, and waits for each commit, so nothing is to be gathered here.
    public func append(_ appends: [JournalAppend]) async throws(StoreFailure) {
        try await perform { db in
            try self.transaction(db) {
                for append in appends { try self.store(append, in: db) }
            }
        }
    }

    private func store(_ append: JournalAppend, in db: Database) throws {
        try write(append, after: try check(append, in: db), in: db)
    }

    /// - Returns: the run's row; `nil` for a new run.
    private func check(
        _ append: JournalAppend, in db: Database
    ) throws -> (version: Int64, chain: EventChain)? {
        let epoch = try Int64.fetchOne(db, sql: "SELECT epoch FROM leader") ?? 0
        try refuseWrongEpoch(append.epoch, current: Epoch(rawValue: epoch))
        let row = try Row.fetchOne(
            db.cachedStatement(sql: "SELECT version, chain FROM run WHERE run = ?"),
            arguments: [append.run.rawValue])
        let version: Int64 = row?["version"] ?? 0
        guard version == append.expectedVersion else {
            throw StoreFailure.conflict(
                run: append.run, expected: append.expectedVersion, actual: version)
        }
        if case .take(let fleet) = append.claim {
            try refuseHeldFleet(fleet, for: append.run, in: db)
        } else if row == nil {
            throw StoreFailure.notFound("run \(append.run)")
        }
        if case .release(let fleet) = append.claim {
            try refuseHeldFleet(fleet, for: append.run, in: db)
        }
        return row.map { (version, EventChain(link: [UInt8]($0["chain"] as Data))) }
    }

    private func refuseHeldFleet(_ fleet: FleetName, for run: RunIdentifier, in db: Database) throws
    {
        let held = try Row.fetchOne(
            db.cachedStatement(sql: "SELECT run, since FROM claim WHERE fleet = ?"),
            arguments: [fleet.rawValue])
        guard let held else { return }
        let holder = try runIdentifier(held["run"], path)
        guard holder == run else {
            throw StoreFailure.fleetHeld(
                FleetClaim(fleet: fleet, run: holder, since: Instant(milliseconds: held["since"])))
        }
    }

    private func write(
        _ append: JournalAppend, after row: (version: Int64, chain: EventChain)?, in db: Database
    ) throws {
        let run = append.run.rawValue
        let at = append.at.milliseconds
        var chain = row?.chain ?? EventChain(beginning: append.run)
        if row == nil, case .take(let fleet) = append.claim {
            try db.execute(
                sql:
                    "INSERT INTO run (run, fleet, created_at, version, chain) VALUES (?, ?, ?, 0, ?)",
                arguments: [run, fleet.rawValue, at, Data(chain.link)])
        }
        var version = append.expectedVersion
        let insert = try db.cachedStatement(
            sql:
                "INSERT INTO event (run, version, epoch, at, body, chain) VALUES (?, ?, ?, ?, ?, ?)"
        )
        for body in append.bodies {
            version += 1
            chain.add(version: version, epoch: append.epoch, at: append.at, body: body)
            try insert.execute(
                arguments: [run, version, append.epoch.rawValue, at, Data(body), Data(chain.link)])
        }
        try db.cachedStatement(sql: "UPDATE run SET version = ?, chain = ? WHERE run = ?")
            .execute(arguments: [version, Data(chain.link), run])
        switch append.claim {
        case .take(let fleet):
            try db.execute(
                sql:
                    "INSERT INTO claim (fleet, run, since) VALUES (?, ?, ?) ON CONFLICT (fleet) DO NOTHING",
                arguments: [fleet.rawValue, run, at])
        case .release(let fleet):
            try db.execute(
                sql: "DELETE FROM claim WHERE fleet = ? AND run = ?",
                arguments: [fleet.rawValue, run])
        case nil: break
        }
    }

    public func events(
        of run: RunIdentifier, after version: Int64, limit: Int
    ) async throws(StoreFailure) -> [StoredEvent] {
        let path = path
        return try await perform { db in
            var chain = EventChain(beginning: run)
            if version > 0 {
                let link = try Data.fetchOne(
                    db, sql: "SELECT chain FROM event WHERE run = ? AND version = ?",
                    arguments: [run.rawValue, version])
                guard let link else { return [] }
                chain = EventChain(link: [UInt8](link))
            }
            let rows = try Row.fetchCursor(
                db.cachedStatement(
                    sql: """
                        SELECT version, epoch, at, body, chain FROM event
                        WHERE run = ? AND version > ? ORDER BY version LIMIT ?
                        """), arguments: [run.rawValue, max(0, version), max(0, limit)])
            var events: [StoredEvent] = []
            while let row = try rows.next() {
                let event = StoredEvent(run: run, row: row)
                chain.add(
                    version: event.version, epoch: event.epoch, at: event.at, body: event.body)
                guard chain.link == [UInt8](row["chain"] as Data) else {
                    throw DamagedHistory(
                        path: path, "event \(event.version) of run \(run) is not what was stored")
                }
                events.append(event)
            }
            if events.count < limit {
                try self.requireEnd(
                    of: run, version: events.last?.version ?? max(0, version), chain, db)
            }
            return events
        }
    }

    /// Whoever has read to the end of a run has read all of it: its row says how long it is, and its last link.
    private func requireEnd(
        of run: RunIdentifier, version: Int64, _ chain: EventChain, _ db: Database
    ) throws {
        let row = try Row.fetchOne(
            db.cachedStatement(sql: "SELECT version, chain FROM run WHERE run = ?"),
            arguments: [run.rawValue])
        guard let row else { return }
        let length: Int64 = row["version"]
        guard version == length, chain.link == [UInt8](row["chain"] as Data) else {
            throw DamagedHistory(
                path: path,
                "run \(run) has \(version) events of \(length), or its last one is not what was stored"
            )
        }
    }

    public func runs(limit: Int) async throws(StoreFailure) -> [RunRecord] {
        let path = path
        return try await perform { db in
            try Row.fetchAll(
                db,
                sql: "SELECT run, fleet, created_at, version FROM run ORDER BY number DESC LIMIT ?",
                arguments: [max(0, limit)]
            ).map { row in
                RunRecord(
                    run: try runIdentifier(row["run"], path),
                    fleet: try fleetName(row["fleet"], path),
                    createdAt: Instant(milliseconds: row["created_at"]), version: row["version"])
            }
        }
    }

    public func claims() async throws(StoreFailure) -> [FleetClaim] {
        let path = path
        return try await perform { db in
            try Row.fetchAll(db, sql: "SELECT fleet, run, since FROM claim ORDER BY fleet").map {
                row in
                FleetClaim(
                    fleet: try fleetName(row["fleet"], path),
                    run: try runIdentifier(row["run"], path),
                    since: Instant(milliseconds: row["since"]))
            }
        }
    }

    public func latestInstant() async throws(StoreFailure) -> Instant? {
        try await perform { db in
            try Int64.fetchOne(db, sql: "SELECT max(at) FROM event").map(
                Instant.init(milliseconds:))
        }
    }
}
