// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What a migration tool says that it would do, read like a migration file. What is not SQL is shown as it stands.
public struct MigrationPreview: Hashable, Sendable {
    /// In one line, such as `3 statements, 1 warning`.
    public var summary: String
    /// A statement each; or the lines, where they are not SQL.
    public var lines: [String]
    /// Warnings: the tool runs whatever is found here.
    public var findings: [Diagnostic]

    /// - Parameters:
    ///   - text: what the tool has said, or the beginning of it.
    ///   - servesReads: whether the old release reads while the tool migrates.
    public static func read(_ text: String, servesReads: Bool) -> MigrationPreview {
        let isCut = text.utf8.count >= TaskOutcome.previewLimit - 8
        let whole = isCut ? beginning(of: text) : text
        let sql = withoutTransactions(whole)
        var findings = MigrationReview.findings(
            in: [MigrationSet.File(name: file, text: sql)],
            MigrationReview.Context(servesReads: servesReads))
        var reader = StatementReader(file: file, text: sql)
        let statements = reader.read().map { oneLine($0.statement.text) }
        let isSQL = !reader.findings.contains { $0.code == "migration-syntax" }
        findings = isSQL ? findings.compactMap(ofTool) + operationsInCode(whole) : []
        if isCut {
            findings.append(
                Diagnostic(
                    .warning, code: "preview-cut", "the tool says more than is shown here",
                    advice: "ask it on the node for the rest"))
        }
        let lines = isSQL ? statements : linesAlone(whole)
        let count = counted(lines.count, isSQL ? "statement" : "line")
        let warnings = findings.isEmpty ? "" : ", \(counted(findings.count, "warning"))"
        return MigrationPreview(
            summary: (lines.isEmpty ? "nothing that is SQL" : isSQL ? count : "\(count), not SQL")
                + warnings, lines: lines, findings: findings)
    }

    /// Readers of migrations go by a file's name.
    private static let file = "0001_preview.up.sql"

    private static func counted(_ count: Int, _ noun: String) -> String {
        "\(count) \(noun)\(count == 1 ? "" : "s")"
    }

    /// Up to the last statement that is whole.
    private static func beginning(of text: String) -> String {
        let end = text.ranges(of: ";\n").last?.upperBound ?? text.endIndex
        return String(text[..<end])
    }

    /// The tool's own transactions are its own matter. Every line stays where it is.
    private static func withoutTransactions(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { line -> Substring in
            let words = line.split(separator: " ").joined(separator: " ").uppercased()
            return ["BEGIN;", "COMMIT;"].contains(words) ? "" : line
        }.joined(separator: "\n")
    }

    private static func oneLine(_ text: String) -> String {
        text.split { $0 == " " || $0 == "\n" || $0 == "\t" }.joined(separator: " ")
    }

    private static func linesAlone(_ text: String) -> [String] {
        text.split(separator: "\n").map(String.init).filter { !$0.allSatisfy { $0 == " " } }
    }

    /// A finding about a file as one about a tool; `nil` where a tool is free.
    private static func ofTool(_ finding: Diagnostic) -> Diagnostic? {
        var finding = finding
        finding.severity = .warning
        finding.position?.file = "preview"
        switch finding.code {
        case "migration-empty", "migration-transaction", "enum-value": return nil
        case "breaks-old-readers":
            finding.advice =
                "let the tool do it after the lift (contract_with), or let the plan say reads: {while_migrating: hold}"
        default: break
        }
        return finding
    }

    /// Django says so of each operation that is Python.
    private static func operationsInCode(_ text: String) -> [Diagnostic] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.enumerated().filter { $0.element.contains("CANNOT BE WRITTEN AS SQL") }.map {
            Diagnostic(
                .warning, code: "preview-code",
                at: .init(file: "preview", line: $0.offset + 1, column: 1),
                "here the tool runs code of the release, which nobody can read beforehand",
                advice: "try it on a copy of the database")
        }
    }
}
