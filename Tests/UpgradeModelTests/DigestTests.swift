// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@Suite struct DigestTests {
    @Test func bytesAndDigitsAreTheSameDigest() {
        let digest = Digest(bytes: (0..<32).map { UInt8($0 * 8) })
        #expect(digest.hexadecimal.hasPrefix("0008101820"))
        #expect(digest.hexadecimal.hasSuffix("e8f0f8"))
        #expect(Digest(digest.hexadecimal) == digest)
        #expect(digest.short == "000810182028")
    }

    @Test func aDigestIsItsThirtyTwoBytesAndSortsAsItsDigitsDo() throws {
        let bytes = (0..<32).map { UInt8(255 - $0 * 7) }
        let digest = Digest(bytes: bytes)
        #expect(digest.bytes == bytes)
        #expect(MemoryLayout<Digest>.size == 32)
        let coded = try JSONEncoder().encode([digest])
        #expect(String(decoding: coded, as: UTF8.self) == "[\"\(digest.hexadecimal)\"]")
        #expect(try JSONDecoder().decode([Digest].self, from: coded) == [digest])
        let digests = (0..<32).map { place in
            Digest(bytes: (0..<32).map { $0 == place ? 0x9a : 0x3 })
        }
        #expect(digests.sorted().map(\.hexadecimal) == digests.map(\.hexadecimal).sorted())
        #expect(Set(digests).count == 32)
    }

    @Test(arguments: [
        "", String(repeating: "0", count: 63), String(repeating: "0", count: 65),
        String(repeating: "A", count: 64), String(repeating: "g", count: 64),
        String(repeating: "0", count: 63) + "٣", "0x" + String(repeating: "0", count: 62),
    ])
    func whatIsNotExactlySixtyFourLowerCaseDigitsIsRefused(_ text: String) {
        #expect(Digest(text) == nil)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(Digest.self, from: JSONEncoder().encode(text))
        }
    }
}
