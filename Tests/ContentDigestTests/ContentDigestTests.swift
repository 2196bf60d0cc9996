// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import FoundationEssentials
import Glibc
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

@Test func aSpanAddsItsBytes() {
    var hasher = SHA256Hasher()
    let bytes = Array("abc".utf8)
    hasher.update(bytes.span.bytes)
    #expect(hasher.finalize() == Digest.sha256(of: "abc"))
}

@Test func aFileHasTheDigestAndTheSizeOfItsBytes() throws {
    let folder = try temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let path = folder + "/blob"
    // Longer than the buffer, and no multiple of it.
    let bytes = (0..<700_001).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    try Data(bytes).write(to: URL(filePath: path))
    let found = try digest(ofFileAt: path)
    #expect(found.digest == Digest.sha256(of: bytes))
    #expect(found.size == 700_001)
}

@Test func whatIsNoRegularFileIsRefusedWithTheReason() throws {
    let folder = try temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(throws: FileDigestError(path: folder, operation: "read", errorNumber: EINVAL)) {
        try digest(ofFileAt: folder)
    }
    let pipe = folder + "/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(throws: FileDigestError(path: pipe, operation: "read", errorNumber: EINVAL)) {
        try digest(ofFileAt: pipe)
    }
    let missing = folder + "/missing"
    let error = #expect(throws: FileDigestError.self) { try digest(ofFileAt: missing) }
    #expect(error?.description == "cannot open \(missing): No such file or directory")
}

private func temporaryFolder() throws -> String {
    let folder = FileManager.default.temporaryDirectory.appending(
        path: "sluice-digest-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    return folder.path
}
