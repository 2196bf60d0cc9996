// SPDX-License-Identifier: Apache-2.0

import CLibcrypto
public import UpgradeModel

/// SHA-256 over bytes that arrive in pieces.
///
/// Owns an OpenSSL digest context, which is freed when the hasher is finalized or dropped. Not to be shared between tasks.
/// Source of the rule: FIPS 180-4; the implementation is libcrypto's EVP interface.
public struct SHA256Hasher: ~Copyable {
    // SAFETY: created in init, used only through this value, freed exactly once in deinit; the struct cannot be copied.
    private let context: OpaquePointer

    public init() {
        guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1
        else {
            fatalError(
                "libcrypto offers no SHA-256; its installation or its FIPS configuration is broken")
        }
        self.context = context
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Adds the bytes of a buffer, which is only read during the call.
    public mutating func update(_ buffer: UnsafeRawBufferPointer) {
        guard let start = buffer.baseAddress, !buffer.isEmpty else { return }
        // SAFETY: the buffer is valid for its count during the call.
        let added = EVP_DigestUpdate(context, start, buffer.count)
        precondition(added == 1, "libcrypto refused to go on with a digest")
    }

    /// Adds the bytes of an array.
    public mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// The digest of everything added so far; the hasher is used up.
    public consuming func finalize() -> Digest {
        let bytes = [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            // SAFETY: SHA-256 writes exactly 32 bytes, the capacity asked for above.
            let ended = EVP_DigestFinal_ex(context, buffer.baseAddress, nil)
            precondition(ended == 1, "libcrypto refused to end a digest")
            count = 32
        }
        return Digest(bytes: bytes)
    }
}
