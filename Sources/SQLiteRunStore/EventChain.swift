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
        let previous = link
        link = Self.hash { hasher in
            hasher.update(previous)
            for number in [version, epoch.rawValue, at.milliseconds, Int64(body.count)] {
                hasher.update(
                    stride(from: 0, to: 64, by: 8).map {
                        UInt8(truncatingIfNeeded: number >> Int64($0))
                    })
            }
            hasher.update(body)
        }
    }

    private static func hash(_ fill: (inout SHA256Hasher) -> Void) -> [UInt8] {
        var hasher = SHA256Hasher()
        fill(&hasher)
        let text = Array(hasher.finalize().hexadecimal.utf8)
        func value(_ digit: UInt8) -> UInt8 { digit < 58 ? digit - 48 : digit - 87 }
        return stride(from: 0, to: text.count, by: 2).map {
            value(text[$0]) << 4 | value(text[$0 + 1])
        }
    }
}
