// SPDX-License-Identifier: Apache-2.0

// A coordinator's way with its store, for a test that kills it: takes the lead in the given directory, appends until it is killed,
// and says each version once it is acknowledged.

import Glibc
import RunStore
import SQLiteRunStore
import UpgradeModel

/// One unbuffered line: what was said has been said when the process is killed.
func say(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    _ = write(1, bytes, bytes.count)
}

do {
    let directory = CommandLine.arguments[1]
    let store = try await SQLiteRunStore(directory: directory)
    let lease = FileLeaderLease(directory: directory, store: store)
    let epoch = try await lease.acquire(holder: "writer, process \(getpid())")
    say("epoch \(epoch.rawValue)")
    let run = RunIdentifier(unchecked: "run-1")
    var version = try await store.runs(limit: 1).first?.version ?? 0
    while true {
        let at = Instant(milliseconds: version + 1)
        let body = Array("event \(version + 1)".utf8)
        try await store.append(
            JournalAppend(
                run: run, expectedVersion: version, epoch: epoch, at: at, bodies: [body],
                claim: version == 0 ? .take(FleetName(unchecked: "web")) : nil))
        version += 1
        say("\(version)")
    }
} catch {
    say("failed \(error)")
    exit(1)
}
