// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Logging
import RunStore
import SteadyClock
import UpgradeEngine
import UpgradeModel

extension RunCoordinator {
    /// What is done beside the runs for as long as this coordinator leads: the history is examined once, blobs are thrown away now
    /// and then. Neither keeps a start waiting.
    func keepHouse() async {
        async let examination: Void = examineHistory()
        var pause = min(ports.pruneInterval, .seconds(60))
        while (try? await Task.sleep(for: pause)) != nil {
            let brought = published.runs.values.flatMap { $0.migrations.map(\.digest) }
            await BlobRetention.apply(
                to: ports.blobs, by: ports.journal, keeping: Set(brought), log: log)
            pause = ports.pruneInterval
        }
        await examination
    }

    /// Holds every run that was not folded at the start against its chain of digests.
    ///
    /// A little at a time: the store has one connection, and the runs in progress need it.
    private func examineHistory() async {
        let folded = Set(published.runs.values.map(\.identifier))
        do {
            for record in try await ports.journal.runs(limit: .max)
            where !folded.contains(record.run) {
                try await examine(record.run)
            }
        } catch let failure as StoreFailure {
            damage = failure.text
            log.critical("the history is damaged: \(failure.text)")
        } catch {}  // cancelled: this coordinator ends
    }

    private func examine(_ run: RunIdentifier) async throws {
        var last: Int64 = 0
        while true {
            let began = ContinuousClock.now
            let page = try await ports.journal.events(of: run, after: last, limit: 500)
            guard let end = page.last, page.count == 500 else { return }
            last = end.version
            try await Task.sleep(for: (ContinuousClock.now - began) * 9)
        }
    }

    /// Refuses what an operator asks when the disk has little room left: the rest is for what the leader has to store.
    func requireSpace(_ isEnough: (DiskSpace) -> Bool) async throws(APIError) {
        guard let space = await diskSpace(), !isEnough(space) else { return }
        throw APIError(.full, message: space.text, advice: "free space on its disk, then try again")
    }
}

extension DiskSpace {
    var text: String {
        "\(free / 1_048_576) MiB are left on the disk of --data, and \(reserve / 1_048_576) MiB of it are kept for the journal"
    }
}
