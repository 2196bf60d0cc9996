// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Notices that two machines use the token of one node.
///
/// An agent makes a new `boot` at each start, and an earlier one never comes back: at most its last message arrives late. Boots
/// that come in turn are two agents. The run believes whichever reported last, so a person has to know.
struct SharedToken: Sendable {
    /// How long it is said after the last sign of it.
    static let memory = Span.seconds(600)
    /// Boots that are remembered.
    private static let limit = 8

    private var current = ""
    /// The highest sequence of each boot that was heard, oldest first.
    private var boots: [(boot: String, sequence: Int64)] = []
    /// When earlier boots have come back.
    private var returns: [Instant] = []

    /// - Returns: whether it has just become known.
    mutating func note(_ boot: String, _ sequence: Int64, at now: Instant) -> Bool {
        returns.removeAll { now - $0 > Self.memory }
        let wasShared = isShared(at: now)
        if let index = boots.firstIndex(where: { $0.boot == boot }) {
            guard boots[index].sequence < sequence else { return false }
            boots[index].sequence = sequence
            if boot != current { returns.append(now) }
            if returns.count > Self.limit { returns.removeFirst() }
        } else {
            boots.append((boot, sequence))
            if boots.count > Self.limit { boots.removeFirst() }
        }
        current = boot
        return !wasShared && isShared(at: now)
    }

    /// A message that was late is a return, and the next one of the living agent is another; the third is neither.
    func isShared(at now: Instant) -> Bool {
        returns.count { now - $0 <= Self.memory } >= 3
    }

    static func warning(_ node: NodeName) -> String {
        "two agents report with this node's token in turn; end the one that is not \(node), then "
            + "`sluice token create --node \(node) --replace`"
    }
}
