// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The last probes that were made, and whether the proxy has asked about them.
final class ProbeBook: Sendable {
    private struct Entry {
        var probe: GateProbe
        var wasAsked = false
        var passage: ProxyPassage?
        /// A read of the agent's own that is let through.
        var isPass = false
    }

    private static let atMost = 256
    private let entries = Mutex<[Entry]>([])

    func make(isPass: Bool = false) -> GateProbe {
        let probe = GateProbe()
        entries.withLock { entries in
            if entries.count >= Self.atMost { entries.removeFirst() }
            entries.append(Entry(probe: probe, isPass: isPass))
        }
        return probe
    }

    /// - Returns: the proof, when the nonce is that of a probe.
    func answer(_ nonce: String) -> String? {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.probe.nonce == nonce && !$0.isPass })
            else { return nil }
            entries[index].wasAsked = true
            return entries[index].probe.proof
        }
    }

    func isPass(_ nonce: String) -> Bool {
        entries.withLock { $0.contains { $0.isPass && $0.probe.nonce == nonce } }
    }

    /// The proxy has reported the end of a request with this nonce.
    ///
    /// - Returns: whether it is that of a probe.
    func end(_ nonce: String, _ passage: ProxyPassage?) -> Bool {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.probe.nonce == nonce }) else {
                return false
            }
            entries[index].passage = passage
            return true
        }
    }

    func passage(of probe: GateProbe) -> ProxyPassage? {
        entries.withLock { $0.first { $0.probe == probe }?.passage }
    }

    func wasAsked(about probe: GateProbe) -> Bool {
        entries.withLock { $0.contains { $0.probe == probe && $0.wasAsked } }
    }
}
