// SPDX-License-Identifier: Apache-2.0

import UpgradeEngine
import UpgradeModel

extension RunCoordinator {
    /// Looks now and then how far a run's migration has come, and whom it or its migration tool waits for, as long as one of them is at
    /// work, and tells those who watch the run. Nothing of it is stored: what a report needs, the tasks say when they have ended.
    func watchWaits(of identifier: RunIdentifier) async {
        while (try? await Task.sleep(for: ports.waitInterval)) != nil,
            let run = published.run(identifier), run.mayTakeLong
        {
            let worker = await worker(thatLooksFor: run)
            // A promotion waits for no lock, and nobody looks in at the server that it shuts.
            let found = run.mayWaitForLocks ? await worker?.waits(of: identifier) ?? [] : []
            let done = await worker?.progress()
            let isAtWork = published.run(identifier)?.mayTakeLong == true
            note(isAtWork ? found : [], isAtWork ? done : nil, of: identifier)
        }
        watchedForWaits.remove(identifier)
        note([], nil, of: identifier)
    }

    private func note(_ found: [String], _ done: String?, of run: RunIdentifier) {
        guard waits[run, default: []] != found || progress[run] != done else { return }
        waits[run] = found.isEmpty ? nil : found
        progress[run] = done
        watchers.signal(run)
    }

    /// The worker of the database at work; one is made where this coordinator has taken over while the tool was at work.
    func worker(thatLooksFor run: Run) async -> (any DatabaseWorker)? {
        let label = run.databaseAtWork
        if let held = workers[run.identifier]?[label] { return held.worker }
        // Whoever performs a task makes it.
        if slots[run.identifier]?[label]?.task != nil { return nil }
        return try? await worker(of: run, label) {
            guard let run = published.run(run.identifier) else { return false }
            return run.mayTakeLong || run.watchesStandby
        }
    }
}
