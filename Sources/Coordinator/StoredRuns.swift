// SPDX-License-Identifier: Apache-2.0

import RunStore
import UpgradeEngine
import UpgradeModel

/// What a coordinator reads of the journal before it leads.
struct StoredRuns {
    /// The latest run of each fleet, and every run that has a fleet, folded.
    var runs: [Run] = []
    /// What the identifiers of their requests were used for.
    var memory = RequestMemory()

    /// What is read is held against its chain of digests; the rest of the journal is looked at while leading.
    @concurrent static func read(_ journal: any Journal) async throws -> StoredRuns {
        var wanted: [FleetName: RunIdentifier] = [:]
        for record in try await journal.runs(limit: .max) where wanted[record.fleet] == nil {
            wanted[record.fleet] = record.run
        }
        for claim in try await journal.claims() { wanted[claim.fleet] = claim.run }
        var stored = StoredRuns()
        for identifier in wanted.values.sorted() {
            let entries = try await journal.entries(of: identifier, limit: .max)
            let run = await WorkLane.history.run { CoordinatorCore.fold(entries.map(\.recorded)) }
            guard let run else {
                throw CoordinatorFault.unreadable(identifier, "its plan is not one any more")
            }
            stored.runs.append(run)
            for entry in entries { stored.memory.note(entry.event, of: identifier) }
        }
        return stored
    }
}
