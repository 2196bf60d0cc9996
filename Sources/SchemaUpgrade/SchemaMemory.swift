// SPDX-License-Identifier: Apache-2.0

import Synchronization
import UpgradeModel

/// What schemas have been found to be, for as long as the process lives: whoever compares later can name what is other, although
/// another session looked at it before.
public final class SchemaMemory: Sendable {
    /// One of ten thousand tables has some megabytes.
    private static let kept = 8

    private let found = Mutex<[(digest: Digest, fingerprint: SchemaFingerprint)]>([])

    public init() {}

    func keep(_ fingerprint: SchemaFingerprint, _ digest: Digest) {
        found.withLock { found in
            found.removeAll { $0.digest == digest }
            found.append((digest, fingerprint))
            if found.count > SchemaMemory.kept { found.removeFirst() }
        }
    }

    /// - Returns: `nil` when nobody has looked at it in this process, or long ago.
    func fingerprint(_ digest: Digest) -> SchemaFingerprint? {
        found.withLock { $0.last { $0.digest == digest }?.fingerprint }
    }
}
