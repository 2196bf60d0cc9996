// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import UpgradeModel

/// Collects what is wrong while it reads.
struct DirectoryReader {
    /// Errors: what no run would take.
    var findings: [Diagnostic] = []
    /// The trees of statements by file, for those who look further.
    var trees: [String: [StatementReader.Read]] = [:]
    /// Whether ``trees`` is wanted.
    var keepsTrees = false

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
        return MigrationSet(
            migrations: migrations, digest: MigrationSet.digest(of: named.map(\.file)))
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
        let header = readHeader(up.file)
        let phase = header.phase
        let script = readScript(up.file, header, phase: phase)
        let down = downs.first.flatMap { down -> Script? in
            let header = readHeader(down.file)
            if header.batches != nil {
                refuse(
                    down.file.name, "migration-batches", "a way back has no batches",
                    advice: "write -- sluice: transaction=none, and a DO block that commits")
            }
            return readScript(down.file, header, phase: phase)
        }
        guard let script else { return nil }
        return Migration(
            version: up.version, name: up.name, header: header, up: script, down: down,
            digest: .sha256(of: up.file.text))
    }

    private mutating func readHeader(_ file: MigrationSet.File) -> MigrationHeader {
        var wrong: [MigrationHeader.Wrong] = []
        let header = MigrationHeader.read(file.sql, &wrong)
        for wrong in wrong {
            findings.append(
                Diagnostic(
                    .error, code: "migration-phase",
                    at: .init(file: file.name, line: wrong.line, column: 1), wrong.message,
                    advice: MigrationHeader.advice))
        }
        return header
    }

    private mutating func readScript(
        _ file: MigrationSet.File, _ header: MigrationHeader, phase: MigrationPhase
    ) -> Script? {
        var reader = StatementReader(file: file.name, text: file.sql)
        let statements = reader.read()
        if keepsTrees { trees[file.name] = statements }
        guard reader.findings.isEmpty else {
            findings += reader.findings
            return nil
        }
        let script = Script(
            file: file.name, statements: statements.map(\.statement),
            refusesTransaction: header.refusesTransaction, batches: header.batches)
        check(script, phase: phase)
        if script.batches != nil { checkBatches(script) }
        checkBlocks(statements, script)
        return script
    }

    private mutating func check(_ script: Script, phase: MigrationPhase) {
        if script.statements.isEmpty {
            refuse(
                script.file, "migration-empty", "there is no statement in it",
                advice: "write SELECT 1 if nothing is to be done")
        }
        if phase == .switch {
            guard script.refusesTransaction || !script.isTransactional else { return }
            let alone = script.statements.first { !$0.kind.isTransactional }
            findings.append(
                Diagnostic(
                    .error, code: "migration-transaction",
                    at: alone?.position ?? .init(file: script.file, line: 1, column: 1),
                    alone == nil
                        ? "the switch migrations run in one transaction, so that the way back is to roll it back"
                        : "this statement cannot run in a transaction, and the switch migrations run in one",
                    advice: "move it to a file with -- sluice: expand or -- sluice: contract"))
        } else if !script.refusesTransaction,
            let alone = script.statements.first(where: { !$0.kind.isTransactional }),
            script.statements.contains(where: { $0.kind.isTransactional && $0.setting == nil })
        {
            findings.append(
                Diagnostic(
                    .error, code: "migration-transaction", at: alone.position,
                    "this statement cannot run in a transaction, and other statements of the file should",
                    advice:
                        "give the statements that cannot a file of their own, or write -- sluice: \(phase.rawValue) transaction=none: "
                        + "then each statement is done for itself"))
        }
    }

    /// What is repeated until it changes nothing has to come to an end.
    private mutating func checkBatches(_ script: Script) {
        let repeated = script.statements.filter(\.changesRows)
        if repeated.isEmpty {
            refuse(
                script.file, "migration-batches", "it has no statement that changes rows",
                advice: "write UPDATE, DELETE or INSERT … SELECT, or leave repeat out")
        }
        for statement in repeated
        where !SQLText.words(statement.text).contains(where: { ["WHERE", "LIMIT"].contains($0) }) {
            findings.append(
                Diagnostic(
                    .error, code: "migration-batches", at: statement.position,
                    "it would be repeated for ever: it changes the same rows each time",
                    advice:
                        "let it take the next rows that are left: WHERE id IN (SELECT id FROM … WHERE … LIMIT 1000)"
                ))
        }
    }

    /// `DO` with `COMMIT` needs a file without a transaction around it.
    private mutating func checkBlocks(_ statements: [StatementReader.Read], _ script: Script) {
        guard !script.refusesTransaction else { return }
        for read in statements where read.statement.kind == .block {
            guard let body = read.node?.DoStmt?.args?.text("as"), endsTransactions(body) else {
                continue
            }
            findings.append(
                Diagnostic(
                    .error, code: "migration-transaction", at: read.statement.position,
                    "this block ends transactions by itself, and the file runs in one",
                    advice:
                        "let the file begin with -- sluice: expand transaction=none (or contract); let the block be safe to repeat. "
                        + "For batches it may say repeat=100ms instead, and have the UPDATE alone"
                ))
        }
    }

    private func endsTransactions(_ body: String) -> Bool {
        let words = SQLText.words(body)
        return words.indices.contains {
            ["COMMIT", "ROLLBACK"].contains(words[$0])
                && ($0 == 0 || [";", "BEGIN", "THEN", "ELSE", "LOOP"].contains(words[$0 - 1]))
                && $0 + 1 < words.count && [";", "AND"].contains(words[$0 + 1])
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
