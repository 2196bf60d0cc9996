// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension Digest {
    /// The SHA-256 of bytes that are all in memory.
    public static func sha256(of bytes: some Sequence<UInt8>) -> Digest {
        var hasher = SHA256Hasher()
        // SAFETY: the pointer is valid for the closure, and the hasher keeps nothing of it.
        if bytes.withContiguousStorageIfAvailable({ hasher.update(UnsafeRawBufferPointer($0)) })
            == nil
        {
            hasher.update(Array(bytes))
        }
        return hasher.finalize()
    }

    /// The SHA-256 of a text's UTF-8 bytes.
    public static func sha256(of text: String) -> Digest {
        sha256(of: text.utf8)
    }
}
