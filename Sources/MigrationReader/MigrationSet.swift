// SPDX-License-Identifier: Apache-2.0

import ContentDigest
public import UpgradeModel

/// The migrations of a release, read from their files: complete, in order, every statement understood by PostgreSQL's parser.
public struct MigrationSet: Hashable, Sendable {
    /// One file: its name without a folder, and its text.
    public struct File: Hashable, Sendable {
        public var name: String
        public var text: String

        public init(name: String, text: String) {
            self.name = name
            self.text = text
        }

        /// The text without the byte order mark that some editors write: psql skips it, and the server would not.
        var sql: String {
            text.unicodeScalars.first == "\u{FEFF}"
                ? String(text.unicodeScalars.dropFirst()) : text
        }
    }

    /// Everything that is wrong with the files.
    public struct Invalid: Error, Hashable, Sendable, CustomStringConvertible {
        public var findings: [Diagnostic]
        public var description: String { findings.map(\.description).joined(separator: "\n") }
    }

    /// At most so many files, and so many bytes in one.
    public static let mostFiles = 10_000
    public static let mostBytes = 4 * 1024 * 1024

    /// In the order of their versions.
    public let migrations: [Migration]
    /// ``digest(of:)`` of the files that were read.
    public let digest: Digest

    /// A release without migrations.
    public static let empty = MigrationSet(
        migrations: [], digest: .sha256(of: ""))

    /// The migrations that cannot be undone, because they have no down file.
    public var withoutDown: [Migration] { migrations.filter { $0.down == nil } }

    /// Statements that only a server newer than the parser may know.
    public var unknownStatements: [Statement] {
        migrations.flatMap { $0.up.statements + ($0.down?.statements ?? []) }.filter {
            $0.kind == .unknown
        }
    }

    /// SHA-256 over the names and the digests of all files, ups and downs: what has been read once under it need not be read
    /// again.
    public static func digest(of files: [File]) -> Digest {
        .sha256(
            of: files.sorted { $0.name < $1.name }.map {
                "\($0.name) \(Digest.sha256(of: $0.text))\n"
            }.joined())
    }

    /// Reads files named `NNNN_name.up.sql` and `NNNN_name.down.sql`, in any order.
    ///
    /// Takes time in proportion to the bytes: about a second for five megabytes of statements in a debug build.
    ///
    /// - Throws: ``Invalid`` with every error at once, each with its place.
    public static func read(_ files: [File]) throws(Invalid) -> MigrationSet {
        var reader = DirectoryReader()
        let set = reader.read(files)
        if !reader.findings.isEmpty { throw Invalid(findings: reader.findings) }
        return set
    }
}
