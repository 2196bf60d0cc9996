// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import RunStore
import UpgradeEngine
import UpgradeModel

/// Between events and the bytes that are stored.
enum EventCoding {
    static func append(_ append: RunAppend) -> JournalAppend {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return JournalAppend(
            run: append.run, expectedVersion: append.expectedVersion, epoch: append.epoch,
            at: append.at, bodies: append.events.map { bytes($0, encoder) }, claim: append.claim)
    }

    private static func bytes(_ event: RunEvent, _ encoder: JSONEncoder) -> [UInt8] {
        guard let data = try? encoder.encode(event) else {
            // Nothing in an event can fail to encode: no floating point number, no foreign type.
            fatalError("an event of type \(event.type) cannot be encoded")
        }
        return [UInt8](data)
    }

    static func entry(_ stored: StoredEvent) throws(CoordinatorFault) -> JournalEntry {
        do {
            let event = try JSONDecoder().decode(RunEvent.self, from: Data(stored.body))
            return JournalEntry(
                version: stored.version, epoch: stored.epoch, at: stored.at, event: event)
        } catch {
            throw .unreadable(stored.run, "event \(stored.version): \(error)")
        }
    }
}

extension Journal {
    /// All events of a run after a version, in pages, at most `limit`; decoded on a thread of their own.
    @concurrent func entries(
        of run: RunIdentifier, after version: Int64 = 0, limit: Int
    ) async throws -> [JournalEntry] {
        var entries: [JournalEntry] = []
        var last = version
        while entries.count < limit {
            let size = min(2000, limit - entries.count)
            let page = try await events(of: run, after: last, limit: size)
            guard let end = page.last else { break }
            entries += try await WorkLane.history.run { () throws(CoordinatorFault) in
                var decoded: [JournalEntry] = []
                for stored in page { decoded.append(try EventCoding.entry(stored)) }
                return decoded
            }
            last = end.version
            if page.count < size { break }
        }
        return entries
    }
}
