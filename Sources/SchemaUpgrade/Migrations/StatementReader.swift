// SPDX-License-Identifier: Apache-2.0

import CPgQuery
import FoundationEssentials
import UpgradeModel

/// Cuts a file into statements with PostgreSQL's parser and tells how each has to be run.
struct StatementReader {
    let file: String
    let text: String

    private var bytes: [UInt8] { Array(text.utf8) }

    func read() throws(MigrationSet.Invalid) -> Script {
        let bytes = bytes
        if let zero = bytes.firstIndex(of: 0) {
            throw invalid(
                at: zero, in: bytes, "migration-syntax", "there is a zero byte in the file")
        }
        var statements: [Statement] = []
        var findings: [Diagnostic] = []
        for range in try split(bytes) {
            let start = skipBlanks(bytes, range)
            guard start < range.upperBound else { continue }
            let statement = String(decoding: bytes[start..<range.upperBound], as: UTF8.self)
            let place = place(of: start, in: bytes)
            switch StatementKind.of(statement) {
            case .run(let kind):
                statements.append(Statement(text: statement, place: place, kind: kind))
            case .refuse(let message, let advice):
                findings.append(
                    Diagnostic(
                        .error, code: "migration-statement", at: place, message, advice: advice))
            }
        }
        if !findings.isEmpty { throw MigrationSet.Invalid(findings: findings) }
        return Script(file: file, statements: statements)
    }

    /// The byte ranges of the statements, without the semicolons.
    private func split(_ bytes: [UInt8]) throws(MigrationSet.Invalid) -> [Range<Int>] {
        let result = pg_query_split_with_parser(text)
        defer { pg_query_free_split_result(result) }
        if let error = result.error {
            let message = error.pointee.message.map { String(cString: $0) } ?? "syntax error"
            let scalars = text.unicodeScalars
            // The position counts characters from 1.
            let index = scalars.index(
                scalars.startIndex, offsetBy: max(0, Int(error.pointee.cursorpos) - 1),
                limitedBy: scalars.endIndex)
            let offset = text.utf8.distance(from: text.startIndex, to: index ?? text.endIndex)
            throw invalid(at: offset, in: bytes, "migration-syntax", message)
        }
        return (0..<Int(result.n_stmts)).compactMap { index in
            // SAFETY: libpg_query made n_stmts pointers to entries that live until the result is freed.
            guard let entry = result.stmts[index] else { return nil }
            let start = Int(entry.pointee.stmt_location)
            let length = Int(entry.pointee.stmt_len)
            let end = length == 0 ? bytes.count : start + length
            guard start >= 0, start <= end, end <= bytes.count else { return nil }
            return start..<end
        }
    }

    /// Where the statement itself begins, after white space and comments.
    private func skipBlanks(_ bytes: [UInt8], _ range: Range<Int>) -> Int {
        var index = range.lowerBound
        func starts(_ text: StaticString) -> Bool {
            text.withUTF8Buffer {
                index + $0.count <= range.upperBound && bytes[index...].starts(with: $0)
            }
        }
        while index < range.upperBound {
            if [9, 10, 11, 12, 13, 32].contains(bytes[index]) {
                index += 1
            } else if starts("--") {
                while index < range.upperBound, ![10, 13].contains(bytes[index]) { index += 1 }
            } else if starts("/*") {
                var depth = 0
                repeat {
                    if starts("/*") {
                        depth += 1
                        index += 2
                    } else if starts("*/") {
                        depth -= 1
                        index += 2
                    } else {
                        index += 1
                    }
                } while depth > 0 && index < range.upperBound
            } else {
                break
            }
        }
        return min(index, range.upperBound)
    }

    private func place(of offset: Int, in bytes: [UInt8]) -> Diagnostic.Place {
        let before = bytes[..<min(offset, bytes.count)]
        let ends = before.indices.filter { isLineEnd(bytes, $0) }
        let line = ends.count + 1
        let lineStart = ends.last.map { $0 + 1 } ?? 0
        let column = String(decoding: before[lineStart...], as: UTF8.self).unicodeScalars.count + 1
        return .init(file: file, line: line, column: column)
    }

    /// LF, and CR where no LF follows.
    private func isLineEnd(_ bytes: [UInt8], _ index: Int) -> Bool {
        bytes[index] == 10
            || bytes[index] == 13 && !bytes[(index + 1)...].starts(with: [10])
    }

    private func invalid(at offset: Int, in bytes: [UInt8], _ code: String, _ message: String)
        -> MigrationSet.Invalid
    {
        MigrationSet.Invalid(findings: [
            Diagnostic(
                .error, code: code, at: place(of: offset, in: bytes), message,
                advice:
                    "the file has to be SQL as PostgreSQL reads it; psql's backslash commands are not SQL"
            )
        ])
    }
}

extension Statement {
    /// The place of a character of the statement, counted from 1 as the server counts.
    func place(ofCharacter position: Int) -> Diagnostic.Place {
        var place = place
        for scalar in text.unicodeScalars.prefix(max(0, position - 1)) {
            if scalar == "\n" {
                place.line += 1
                place.column = 1
            } else {
                place.column += 1
            }
        }
        return place
    }
}
