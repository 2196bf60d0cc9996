// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import RunStore
import SQLiteRunStore
import UpgradeModel

/// `sluice journal`: the events of all runs on the coordinator's disk.
public struct JournalCommand: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "journal", abstract: "Examine the journal.",
        discussion: """
            EXAMPLES
              sluice journal verify
              sluice journal verify --data /backup/sluice
            """,
        subcommands: [Verify.self])

    public init() {}

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hold every event of every run against the chain of digests.",
            discussion: """
                Reads a little at a time, so that a coordinator that leads is not kept from storing; the pages of the file are \
                examined as well while none does. Changes nothing. Ends with 1 when something is not what was stored.

                EXAMPLES
                  sluice journal verify
                  sluice journal verify --data /backup/sluice
                """)

        @OptionGroup var data: DataOption

        func run() async throws {
            try data.requireStore(SQLiteRunStore.exists)
            let isLed = FileLeaderLease.isHeld(in: data.directory)
            let count = try await data.withStore { store throws(StoreFailure) in
                if !isLed { try await store.examinePages() }
                var events = 0
                let runs = try await store.runs(limit: .max)
                for record in runs { events += try await Self.read(record.run, of: store) }
                return (runs: runs.count, events: events)
            }
            remark(
                "\(count.events) events of \(count.runs) runs in \(data.directory) are what was stored"
                    + (isLed
                        ? "; the file's pages were not examined, because a coordinator leads" : "")
            )
        }

        private static func read(
            _ run: RunIdentifier, of store: any Journal
        ) async throws(StoreFailure) -> Int {
            var last: Int64 = 0
            while true {
                let page = try await store.events(of: run, after: last, limit: 500)
                last = page.last?.version ?? last
                if page.count < 500 { return Int(last) }
            }
        }
    }
}
