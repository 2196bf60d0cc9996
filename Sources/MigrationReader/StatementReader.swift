// SPDX-License-Identifier: Apache-2.0

import CPgQuery
import UpgradeModel

/// Cuts a file into statements with PostgreSQL's parser and tells how each has to be run.
///
/// What no parser takes is taken out and said, and the rest is read on, so that everything is said at once.
struct StatementReader {
    let file: String
    private let original: [UInt8]
    /// What is left to read: blanks stand where something was taken out.
    private var bytes: [UInt8]
    private(set) var findings: [Diagnostic] = []

    /// After so many findings nobody reads on.
    private static let mostFindings = 20

    init(file: String, text: String) {
        self.file = file
        original = Array(text.utf8)
        bytes = original
    }

    /// One statement, with what its tree says.
    struct Read {
        var statement: Statement
        var node: ParseTree.Node?
    }

    mutating func read() -> [Read] {
        if let zero = bytes.firstIndex(of: 0) {
            refuse(
                at: zero, "migration-syntax", "there is a zero byte in the file",
                advice: "save it as UTF-8 text")
            return []
        }
        let cut = split()
        var statements: [Read] = []
        var cursor = PlaceCursor(file: file, bytes: original)
        for (range, isUnknown) in cut {
            let start = SQLText.skipBlanks(isUnknown ? original : bytes, range)
            guard start < range.upperBound else { continue }
            let text = String(decoding: original[start..<range.upperBound], as: UTF8.self)
            let position = cursor.position(of: start)
            if isUnknown {
                let statement = Statement(
                    text: text, position: position, kind: .unknown, existing: nil, setting: nil)
                statements.append(Read(statement: statement))
                continue
            }
            let outcome = ParseTree.of(
                text, firstWord: SQLText.firstWord(original, start..<range.upperBound))
            switch StatementKind.of(text, outcome) {
            case .run(let kind):
                var node: ParseTree.Node?
                if case .node(let found) = outcome { node = found }
                let statement = Statement(
                    text: text, position: position, kind: kind,
                    existing: node.flatMap { ExistingObject($0, text) },
                    setting: node?.VariableSetStmt.flatMap(SessionSetting.init))
                statements.append(Read(statement: statement, node: node))
            case .refuse(let message, let advice):
                findings.append(
                    Diagnostic(
                        .error, code: "migration-statement", at: position, message, advice: advice))
            }
        }
        return statements
    }

    /// The byte ranges of the statements, without the semicolons, and whether the parser does not know one.
    private mutating func split() -> [(Range<Int>, isUnknown: Bool)] {
        var unknown: [Range<Int>] = []
        while true {
            switch Self.parse(bytes) {
            case .success(let ranges):
                let known = ranges.map { ($0, isUnknown: false) }
                return (known + unknown.map { ($0, isUnknown: true) }).sorted {
                    $0.0.lowerBound < $1.0.lowerBound
                }
            case .failure(let error):
                if let newer = newerStatement(around: error.offset) {
                    unknown.append(newer)
                    blank(newer)
                } else if !takeOut(error) || findings.count >= Self.mostFindings {
                    return []
                }
            }
        }
    }

    private struct SyntaxError: Error {
        var offset: Int
        var message: String
    }

    private static func parse(_ bytes: [UInt8]) -> Result<[Range<Int>], SyntaxError> {
        // libpg_query takes a C string; the bytes have no zero.
        let text = String(decoding: bytes, as: UTF8.self)
        let result = pg_query_split_with_parser(text)
        defer { pg_query_free_split_result(result) }
        if let error = result.error {
            let message = error.pointee.message.map { String(cString: $0) } ?? "syntax error"
            // The position counts characters from 1.
            var left = Int(error.pointee.cursorpos) - 1
            var offset = 0
            while offset < bytes.count, left > 0 || bytes[offset] & 0xC0 == 0x80 {
                if bytes[offset] & 0xC0 != 0x80 { left -= 1 }
                offset += 1
            }
            return .failure(SyntaxError(offset: offset, message: message))
        }
        return .success(ranges(of: result, bytes.count))
    }

    private static func ranges(of result: PgQuerySplitResult, _ end: Int) -> [Range<Int>] {
        (0..<Int(result.n_stmts)).compactMap { index in
            // SAFETY: libpg_query made n_stmts pointers to entries that live until the result is freed.
            guard let entry = result.stmts[index] else { return nil }
            let start = Int(entry.pointee.stmt_location)
            let length = Int(entry.pointee.stmt_len)
            let stop = length == 0 ? end : start + length
            guard start >= 0, start <= stop, stop <= end else { return nil }
            return start..<stop
        }
    }

    /// Takes what was found wrong out of the text, with a finding.
    ///
    /// - Returns: whether it is worth reading on.
    private mutating func takeOut(_ error: SyntaxError) -> Bool {
        let line = lineAround(error.offset)
        let text = String(decoding: bytes[line], as: UTF8.self)
        if let word = PsqlWord(line: text) {
            refuse(at: line.lowerBound, "migration-psql", word.message, advice: word.advice)
            blank(line)
            return true
        }
        if let copy = copyBefore(line.lowerBound) {
            refuse(
                at: copy.lowerBound, "migration-statement",
                "COPY with data in the file is not supported",
                advice: "write the rows as INSERT … VALUES; pg_dump --inserts does")
            blank(copy.lowerBound..<endOfData(line.lowerBound))
            return true
        }
        refuse(
            at: error.offset, "migration-syntax", error.message,
            advice: switchesStringsOff
                ? "strings are read with standard_conforming_strings = on; write E'…' where a backslash is meant"
                : "the file has to be SQL as PostgreSQL reads it; psql's backslash commands are not SQL"
        )
        return false
    }

    private var switchesStringsOff: Bool {
        SQLText.words(String(decoding: bytes, as: UTF8.self)).contains(
            "STANDARD_CONFORMING_STRINGS")
    }

    /// `COPY … FROM stdin;` as the last statement before an offset.
    private func copyBefore(_ offset: Int) -> Range<Int>? {
        guard case .success(let ranges) = Self.parse(Array(bytes[..<offset])),
            let last = ranges.last
        else { return nil }
        let start = SQLText.skipBlanks(bytes, last)
        guard SQLText.firstWord(bytes, start..<last.upperBound) == "COPY" else { return nil }
        let text = String(decoding: bytes[start..<last.upperBound], as: UTF8.self)
        guard case .node(let node) = ParseTree.of(text, firstWord: "COPY"),
            let copy = node.CopyStmt, copy.is_from == true, copy.filename == nil
        else { return nil }
        return start..<last.upperBound
    }

    /// After the line `\.`, or at the end of the file.
    private func endOfData(_ start: Int) -> Int {
        var offset = start
        while offset < bytes.count {
            let line = lineAround(offset)
            if bytes[line].starts(with: [92, 46]), line.count == 2 { return line.upperBound }
            offset = line.upperBound + 1
        }
        return bytes.count
    }

    private func lineAround(_ offset: Int) -> Range<Int> {
        let start = bytes[..<min(offset, bytes.count)].lastIndex(where: SQLText.isLineEnd)
        let end = bytes[min(offset, bytes.count)...].firstIndex(where: SQLText.isLineEnd)
        return (start.map { $0 + 1 } ?? 0)..<(end ?? bytes.count)
    }

    /// The statement around an error, if it has words that came after the parser: a newer server may know it.
    private func newerStatement(around offset: Int) -> Range<Int>? {
        let result = pg_query_split_with_scanner(String(decoding: bytes, as: UTF8.self))
        defer { pg_query_free_split_result(result) }
        guard result.error == nil else { return nil }
        let range = Self.ranges(of: result, bytes.count).first {
            $0.lowerBound <= offset && offset <= $0.upperBound
        }
        guard let range else { return nil }
        let text = String(decoding: bytes[range], as: UTF8.self)
        return NewerSyntax.isIn(text) ? range : nil
    }

    /// Puts blanks in the place of what is taken out; lines stay lines.
    private mutating func blank(_ range: Range<Int>) {
        for index in range where !SQLText.isLineEnd(bytes[index]) { bytes[index] = 32 }
    }

    private mutating func refuse(at offset: Int, _ code: String, _ message: String, advice: String)
    {
        var cursor = PlaceCursor(file: file, bytes: bytes)
        findings.append(
            Diagnostic(
                .error, code: code, at: cursor.position(of: offset), message, advice: advice))
    }
}
