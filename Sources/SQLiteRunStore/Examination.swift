// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
import RunStore
import UpgradeModel

/// A run's events are not what was stored.
///
/// Unlike a torn page it does not stop the store: the events of an old run may be damaged while another run is in progress, and
/// that one needs none of them. A coordinator that finds it in a run that it folds does not start.
struct DamagedHistory: Error {
    var failure: StoreFailure

    init(path: String, _ what: String) {
        failure = .damaged(path, what)
    }
}

/// Looks for damage: SQLite's own check of pages and indexes, then the chain of every run.
///
/// - Throws: `.corrupt` with the file, what was found, and what to do.
func examineFile(at path: String, _ db: Database) throws {
    try SQLiteRunStore.examinePages(at: path, db)
    for row in try Row.fetchAll(db, sql: "SELECT run, version, chain FROM run ORDER BY number") {
        let run = try runIdentifier(row["run"], path)
        try examineRun(run, length: row["version"], head: [UInt8](row["chain"] as Data), path, db)
    }
}

extension SQLiteRunStore {
    static func examinePages(at path: String, _ db: Database) throws {
        let findings = try String.fetchAll(db, sql: "PRAGMA quick_check(3)")
        guard findings == ["ok"] else {
            throw StoreFailure.damaged(path, findings.joined(separator: ", "))
        }
        let foreign = try Row.fetchAll(db, sql: "PRAGMA foreign_key_check").count
        guard foreign == 0 else {
            throw StoreFailure.damaged(path, "\(foreign) rows belong to runs that are not there")
        }
    }
}

private func examineRun(
    _ run: RunIdentifier, length: Int64, head: [UInt8], _ path: String, _ db: Database
) throws {
    var chain = EventChain(beginning: run)
    var version: Int64 = 0
    let rows = try Row.fetchCursor(
        db, sql: "SELECT version, epoch, at, body, chain FROM event WHERE run = ? ORDER BY version",
        arguments: [run.rawValue])
    while let row = try rows.next() {
        version += 1
        let event = StoredEvent(run: run, row: row)
        chain.add(version: event.version, epoch: event.epoch, at: event.at, body: event.body)
        guard event.version == version, chain.link == [UInt8](row["chain"] as Data) else {
            throw StoreFailure.damaged(
                path, "event \(version) of run \(run) is not what was stored")
        }
    }
    guard version == length, chain.link == head else {
        throw StoreFailure.damaged(
            path,
            "run \(run) has \(version) events of \(length), or its last one is not what was stored")
    }
}

func runIdentifier(_ text: String, _ path: String) throws -> RunIdentifier {
    guard let run = RunIdentifier(rawValue: text) else {
        throw StoreFailure.damaged(path, "a run has an impossible name")
    }
    return run
}

func fleetName(_ text: String, _ path: String) throws -> FleetName {
    guard let fleet = FleetName(rawValue: text) else {
        throw StoreFailure.damaged(path, "a fleet has an impossible name")
    }
    return fleet
}

extension StoredEvent {
    /// A row of the table of events, with `version`, `epoch`, `at` and `body`.
    init(run: RunIdentifier, row: Row) {
        self.init(
            run: run, version: row["version"], epoch: Epoch(rawValue: row["epoch"]),
            at: Instant(milliseconds: row["at"]), body: [UInt8](row["body"] as Data))
    }
}
