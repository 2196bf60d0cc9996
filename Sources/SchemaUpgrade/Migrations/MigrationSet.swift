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
    /// SHA-256 over the names and the digests of all files, ups and downs.
    public let digest: Digest

    /// A release without migrations.
    public static let empty = MigrationSet(
        migrations: [], digest: .sha256(of: ""))

    /// The migrations that cannot be undone, because they have no down file.
    public var withoutDown: [Migration] { migrations.filter { $0.down == nil } }

    /// Reads files named `NNNN_name.up.sql` and `NNNN_name.down.sql`, in any order.
    ///
    /// - Throws: ``Invalid`` with every finding at once, each with its place.
    public static func read(_ files: [File]) throws(Invalid) -> MigrationSet {
        var reader = MigrationReader()
        let set = reader.read(files)
        if !reader.findings.isEmpty { throw Invalid(findings: reader.findings) }
        return set
    }
}

/// Collects what is wrong while it reads.
private struct MigrationReader {
    var findings: [Diagnostic] = []

    private struct Named {
        var version: String
        var name: String
        var isUp: Bool
        var file: MigrationSet.File
    }

    mutating func read(_ files: [MigrationSet.File]) -> MigrationSet {
        guard files.count <= MigrationSet.mostFiles else {
            findings.append(
                Diagnostic(
                    .error, code: "too-many-migrations",
                    "\(files.count) files are more than \(MigrationSet.mostFiles)"))
            return .empty
        }
        let named = files.sorted { $0.name < $1.name }.compactMap { parseName($0) }
        let groups = Dictionary(grouping: named) { Int($0.version) ?? 0 }
        let migrations = groups.sorted { $0.key < $1.key }.compactMap { migration($0.value) }
        let identity = named.map { "\($0.file.name) \(Digest.sha256(of: $0.file.text))\n" }.joined()
        return MigrationSet(migrations: migrations, digest: .sha256(of: identity))
    }

    private mutating func parseName(_ file: MigrationSet.File) -> Named? {
        let isUp = file.name.hasSuffix(".up.sql")
        guard isUp || file.name.hasSuffix(".down.sql") else {
            refuse(
                file.name, "migration-name", "the name does not end in .up.sql or .down.sql",
                advice: "name it NNNN_name.up.sql, or move it out of the migrations directory")
            return nil
        }
        let stem = file.name.dropLast(isUp ? ".up.sql".count : ".down.sql".count)
        let version = stem.prefix(while: { $0.isASCII && $0.isNumber })
        let name = stem.dropFirst(version.count + 1)
        guard (4...18).contains(version.count), stem.dropFirst(version.count).first == "_",
            isSafeName(String(name))
        else {
            refuse(
                file.name, "migration-name", "the name is not four or more digits, _, and a name",
                advice: "such as 0002_split_name\(isUp ? ".up.sql" : ".down.sql")")
            return nil
        }
        guard file.text.utf8.count <= MigrationSet.mostBytes else {
            refuse(file.name, "migration-size", "the file is longer than 4 MiB", advice: "split it")
            return nil
        }
        return Named(version: String(version), name: String(name), isUp: isUp, file: file)
    }

    /// One version's files: exactly one up, at most one down, of one name.
    private mutating func migration(_ group: [Named]) -> Migration? {
        let ups = group.filter(\.isUp)
        let downs = group.filter { !$0.isUp }
        guard let up = ups.first else {
            for down in downs {
                refuse(
                    down.file.name, "migration-without-up", "there is no up file of this version",
                    advice: "add \(down.version)_\(down.name).up.sql")
            }
            return nil
        }
        for other in ups.dropFirst() + downs.dropFirst() {
            refuse(
                other.file.name, "migration-duplicate",
                "version \(other.version) is taken by \(up.file.name)",
                advice: "give it a version of its own")
        }
        if let down = downs.first, down.name != up.name || down.version != up.version {
            refuse(
                down.file.name, "migration-duplicate",
                "the up file of this version is \(up.file.name)",
                advice: "name it \(up.version)_\(up.name).down.sql")
        }
        let phase = readPhase(up.file)
        let script = readScript(up.file, phase: phase)
        let down = downs.first.flatMap { readScript($0.file, phase: phase) }
        guard let script else { return nil }
        return Migration(
            version: up.version, name: up.name, phase: phase, up: script, down: down,
            digest: .sha256(of: up.file.text))
    }

    /// The word after `-- sluice:` in the comments before the first statement; `switch` when there is none.
    private mutating func readPhase(_ file: MigrationSet.File) -> Migration.Phase {
        var found: Migration.Phase?
        // PostgreSQL ends a comment at CR as at LF; CRLF is one character, and equal to neither.
        let lines = file.sql.split(omittingEmptySubsequences: false) {
            $0 == "\n" || $0 == "\r\n" || $0 == "\r"
        }
        for (index, line) in lines.enumerated() {
            let line = line.drop(while: \.isWhitespace)
            if line.isEmpty { continue }
            guard line.hasPrefix("--") else { break }
            let comment = line.drop(while: { $0.isWhitespace || $0 == "-" })
            guard comment.hasPrefix("sluice:") else { continue }
            let word = String(comment.dropFirst("sluice:".count).filter { !$0.isWhitespace })
            guard let phase = Migration.Phase(rawValue: word), found == nil else {
                findings.append(
                    Diagnostic(
                        .error, code: "migration-phase",
                        at: .init(file: file.name, line: index + 1, column: 1),
                        found == nil ? "there is no phase \(word)" : "the phase is given twice",
                        advice:
                            "write one of: -- sluice: expand, -- sluice: switch, -- sluice: contract"
                    ))
                continue
            }
            found = phase
        }
        return found ?? .switch
    }

    private mutating func readScript(_ file: MigrationSet.File, phase: Migration.Phase) -> Script? {
        do {
            let script = try StatementReader(file: file.name, text: file.sql).read()
            check(script, phase: phase)
            return script
        } catch {
            findings.append(contentsOf: error.findings)
            return nil
        }
    }

    private mutating func check(_ script: Script, phase: Migration.Phase) {
        if script.statements.isEmpty {
            refuse(
                script.file, "migration-empty", "there is no statement in it",
                advice: "write SELECT 1 if nothing is to be done")
        }
        guard let alone = script.statements.first(where: { $0.kind != .transactional }) else {
            return
        }
        if phase == .switch {
            findings.append(
                Diagnostic(
                    .error, code: "migration-transaction", at: alone.place,
                    "this statement cannot run in a transaction, and the switch migrations run in one",
                    advice: "move it to a file with -- sluice: expand or -- sluice: contract"))
        } else if script.statements.contains(where: { $0.kind == .transactional }) {
            findings.append(
                Diagnostic(
                    .error, code: "migration-transaction", at: alone.place,
                    "this statement cannot run in a transaction, and other statements of the file should",
                    advice: "give the statements that cannot a file of their own"))
        }
    }

    private mutating func refuse(_ file: String, _ code: String, _ message: String, advice: String)
    {
        findings.append(
            Diagnostic(
                .error, code: code, at: .init(file: file, line: 1, column: 1), message,
                advice: advice))
    }
}
