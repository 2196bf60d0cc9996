// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Testing
import UpgradeModel

/// Known answers of FIPS 180-4's examples.
let knownAnswers: [(text: String, digest: String)] = [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
]

@Test(arguments: knownAnswers)
func aTextHasItsPublishedDigest(text: String, digest: String) {
    #expect(Digest.sha256(of: text).hexadecimal == digest)
    #expect(Digest.sha256(of: Array(text.utf8)).hexadecimal == digest)
    #expect(Digest.sha256(of: AnySequence(text.utf8)).hexadecimal == digest)
}

@Test func aMillionLettersInPiecesHaveTheirPublishedDigest() {
    let expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    for piece in [1000, 64, 40_000] {
        var hasher = SHA256Hasher()
        let bytes = [UInt8](repeating: 97, count: piece)
        for _ in 0..<(1_000_000 / piece) { hasher.update(bytes) }
        #expect(hasher.finalize().hexadecimal == expected)
    }
}
