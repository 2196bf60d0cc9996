// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The last probes that were made, and whether the proxy has asked about them.
final class ProbeBook: Sendable {
    private struct Entry {
        var probe: GateProbe
        var wasAsked = false
    }

    private static let atMost = 64
    private let entries = Mutex<[Entry]>([])

    func make() -> GateProbe {
        let probe = GateProbe()
        entries.withLock { entries in
            if entries.count >= Self.atMost { entries.removeFirst() }
            entries.append(Entry(probe: probe))
        }
        return probe
    }

    /// - Returns: the proof, when the mark is that of a probe.
    func answer(_ mark: String) -> String? {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.probe.mark == mark }) else {
                return nil
            }
            entries[index].wasAsked = true
            return entries[index].probe.proof
        }
    }

    func wasAsked(about probe: GateProbe) -> Bool {
        entries.withLock { $0.contains { $0.probe == probe && $0.wasAsked } }
    }
}
