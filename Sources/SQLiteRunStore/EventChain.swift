// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import UpgradeModel

/// Links each event of a run to the ones before it, so that a torn, edited, missing or reordered row is found.
///
/// A link is the SHA-256 of the link before and of every column of the event; the run's row keeps the last one. It finds damage
/// and careless edits. Whoever can write the file can also write a new chain: that is the audit log's business.
struct EventChain: Equatable {
    private(set) var link: [UInt8]

    init(beginning run: RunIdentifier) {
        link = Self.hash { hasher in hasher.update(Array("sluice run 1\n\(run.rawValue)".utf8)) }
    }

    init(link: [UInt8]) {
        self.link = link
    }

    mutating func add(version: Int64, epoch: Epoch, at: Instant, body: [UInt8]) {
        var head = link
        head.reserveCapacity(link.count + 32)
        for number in [version, epoch.rawValue, at.milliseconds, Int64(body.count)] {
            // The lowest byte first.
            for shift in stride(from: 0, to: 64, by: 8) {
                head.append(UInt8(truncatingIfNeeded: number >> Int64(shift)))
            }
        }
        link = Self.hash { hasher in
            hasher.update(head)
            hasher.update(body)
        }
    }

    private static func hash(_ fill: (inout SHA256Hasher) -> Void) -> [UInt8] {
        var hasher = SHA256Hasher()
        fill(&hasher)
        return hasher.finalize().bytes
    }
}
