// SPDX-License-Identifier: Apache-2.0

/// The proxy's own identity of a request (`$request_id`): in the question and in the completion.
///
/// 1 to 64 letters, digits and `-`; nginx makes 32 hexadecimal digits. Never one that a client chose.
struct RequestIdentifier: Hashable, Sendable {
    let text: String

    init?(_ bytes: some Collection<UInt8>) {
        guard (1...64).contains(bytes.count),
            bytes.allSatisfy({
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                    || $0 == 45
            })
        else { return nil }
        text = String(decoding: bytes, as: UTF8.self)
    }

    init?(_ text: String) { self.init(Array(text.utf8)) }
}
