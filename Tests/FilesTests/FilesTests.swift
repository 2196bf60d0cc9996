// SPDX-License-Identifier: Apache-2.0

import Glibc
import TestSupport
import Testing

@testable import Files

@Suite struct FilesTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func path(_ name: String) -> String { "\(directory.path)/\(name)" }

    @Test func aFileLargerThanTheLimitIsAFailureAndOneOfTheLimitIsRead() throws {
        try directory.write("12345", to: "a")
        #expect(try readFile(path("a"), atMost: 5) == Array("12345".utf8))
        #expect(throws: FileFailure.self) { try readFile(path("a"), atMost: 4) }
    }

    @Test func aPipeIsRefusedAndNotWaitedFor() throws {
        #expect(mkfifo(path("pipe"), 0o600) == 0)
        #expect(throws: FileFailure("read", path("pipe"), reason: "it is not a regular file")) {
            try readFile(path("pipe"), atMost: 10)
        }
    }

    @Test func aFailureSaysCallPathAndReason() {
        #expect {
            try readTextFile("/nowhere/file", atMost: 10)
        } throws: { error in
            "\(error)" == "cannot open /nowhere/file: No such file or directory"
                && (error as? FileFailure)?.number == ENOENT
        }
    }

    @Test func aReplacedFileHasItsModeWhateverTheUmaskAndLeavesNothingBeside() throws {
        try directory.write("old", to: "f")
        try replaceFile(path("f"), with: Array("new".utf8), mode: 0o664)
        var status = stat()
        #expect(stat(path("f"), &status) == 0 && status.st_mode & 0o777 == 0o664)
        #expect(directory.read("f") == "new")
        #expect(!directory.exists(".f.new"))
    }

    @Test func aReplacementThatFailsLeavesTheOldContentAndNothingBeside() throws {
        #expect(throws: FileFailure.self) {
            try replaceFile(path("absent/f"), with: [1], mode: 0o600)
        }
        // A directory cannot be replaced by a file.
        try directory.write("x", to: "d/inside")
        #expect(throws: FileFailure.self) { try replaceFile(path("d"), with: [1], mode: 0o600) }
        #expect(directory.read("d/inside") == "x" && !directory.exists(".d.new"))
    }

    @Test func directoriesAreMadeWithThoseAboveAndAFileInTheWayIsSaid() throws {
        try makeDirectories(path("a/b/c"), mode: 0o700)
        try makeDirectories(path("a/b/c"), mode: 0o700)
        try directory.write("", to: "file")
        #expect(throws: FileFailure.self) { try makeDirectory(path("file"), mode: 0o700) }
    }

    @Test func aLockIsOfOneUntilItIsClosed() {
        func descriptor() -> Int32 { open(path("lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
        let first = descriptor()
        #expect(lockFile(first))
        let second = descriptor()
        #expect(!lockFile(second, patience: .zero))
        close(first)
        #expect(lockFile(second))
        close(second)
    }

    @Test func anAddressTakes107BytesAndNoMore() {
        #expect(UnixAddress(String(repeating: "a", count: 107)) != nil)
        #expect(UnixAddress(String(repeating: "a", count: 108)) == nil)
        #expect(UnixAddress("") == nil && UnixAddress("a\0b") == nil)
        #expect(UnixAddress(abstract: String(repeating: "a", count: 107)) == nil)
        // Two bytes of family, the zero byte, the name.
        #expect(UnixAddress(abstract: "name")?.withPointer { $1 } == 7)
    }

    @Test(arguments: [
        ("file", 0o666 as UInt32), ("file", 0o602), ("", 0o777), ("", 0o703),
    ])
    func whatOthersMayWriteIsNotTrusted(_ name: String, _ mode: UInt32) throws {
        try directory.write("", to: "file")
        #expect(chmod(path("file"), 0o600) == 0)
        #expect(try trustProblem(with: path("file")) == nil)
        let place = name.isEmpty ? directory.path : path(name)
        #expect(chmod(place, mode) == 0)
        let problem = try trustProblem(with: path("file"))
        #expect(problem == "others may write \(place); chmod go-w \(place)")
    }

    @Test func aLinkIsTrustedOnlyWithWhatItLeadsTo() throws {
        try directory.write("", to: "real/file")
        #expect(symlink(path("real/file"), path("link")) == 0)
        #expect(try trustProblem(with: path("link")) == nil)
        #expect(chmod(path("real"), 0o777) == 0)
        #expect(try trustProblem(with: path("link")) != nil)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root to give a file away"))
    func anotherUsersFileIsNotTrustedUnlessNamed() throws {
        try directory.write("", to: "file")
        #expect(chmod(path("file"), 0o600) == 0 && chown(path("file"), 12345, 12345) == 0)
        #expect(try trustProblem(with: path("file"))?.contains("user 12345") == true)
        #expect(try trustProblem(with: path("file"), ownersBesides: [12345]) == nil)
    }

    @Test func aSecretIsItsOwnersAlone() throws {
        try directory.write("", to: "token")
        #expect(chmod(path("token"), 0o640) == 0)
        let token = path("token")
        #expect(try secrecyProblem(with: token) == "others may read \(token); chmod 600 \(token)")
        #expect(chmod(token, 0o400) == 0)
        #expect(try secrecyProblem(with: token) == nil)
    }
}
