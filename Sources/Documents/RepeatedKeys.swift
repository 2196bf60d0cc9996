// SPDX-License-Identifier: Apache-2.0

import Yams

/// The lines of a text, from which a key that is given again can be taken out with its value; all else keeps its place.
struct RepeatedKeys {
    private var lines: [[Unicode.Scalar]]

    init(_ source: SourceText) { lines = source.lines.map(\.scalars) }

    var text: String {
        var text = String.UnicodeScalarView()
        for line in lines {
            text.append(contentsOf: line)
            text.append("\n")
        }
        return String(text)
    }

    /// Takes the next key of this name in the same section out of the text.
    ///
    /// - Parameter first: where the key stands that stays.
    /// - Returns: where the other one stood, from 1; `nil` when the text there is written in a way that is not looked through.
    mutating func removeLater(_ key: String, than first: Mark) -> (line: Int, column: Int)? {
        let (line, column) = (first.line - 1, first.column - 1)
        guard lines.indices.contains(line), !key.isEmpty else { return nil }
        let isOfABlock = lines[line].prefix(column).allSatisfy {
            " -?:\t".unicodeScalars.contains($0)
        }
        return isOfABlock
            ? removeFromBlock(key, after: line, column: column)
            : removeFromLine(key, line: line, after: column)
    }

    /// In a section whose keys stand below one another, at one column.
    private mutating func removeFromBlock(
        _ key: String, after line: Int, column: Int
    ) -> (line: Int, column: Int)? {
        var found: Int?
        for index in (line + 1)..<max(line + 1, lines.count) where !isBlank(lines[index]) {
            let indentation = lines[index].prefix { $0 == " " }.count
            let isItem = lines[index].dropFirst(indentation).first == "-"
            if indentation > column || indentation == column && isItem { continue }
            if let found {
                for removed in found..<index { lines[removed] = [] }
                return (found + 1, column + 1)
            }
            guard indentation == column else { return nil }
            if isKey(key, in: lines[index], at: column) { found = index }
        }
        guard let found else { return nil }
        for removed in found..<lines.count { lines[removed] = [] }
        return (found + 1, column + 1)
    }

    /// In a section in braces on one line, where values are single words.
    private mutating func removeFromLine(
        _ key: String, line: Int, after column: Int
    ) -> (line: Int, column: Int)? {
        let scalars = lines[line]
        var depth = 0
        var comma: Int?
        var found: (comma: Int, column: Int)?
        for index in column..<scalars.count {
            let scalar = scalars[index]
            if let found, depth == 0, scalar == "," || scalar == "}" {
                for removed in found.comma..<index { lines[line][removed] = " " }
                return (line + 1, found.column + 1)
            }
            switch scalar {
            case "[", "{": depth += 1
            case "]", "}": depth -= 1
            case "," where depth == 0: comma = index
            case " ": continue
            default:
                if let start = comma, found == nil, depth == 0,
                    isKey(key, in: scalars, at: index)
                {
                    found = (start, index)
                }
                if depth == 0 { comma = nil }
            }
            if depth < 0 { return nil }
        }
        return nil
    }

    private func isBlank(_ line: [Unicode.Scalar]) -> Bool {
        let start = line.first { $0 != " " && $0 != "\t" && $0 != "\r" }
        return start == nil || start == "#"
    }

    private func isKey(_ key: String, in line: [Unicode.Scalar], at column: Int) -> Bool {
        var rest = line[column...]
        let quote = rest.first.flatMap { $0 == "\"" || $0 == "'" ? $0 : nil }
        if quote != nil { rest = rest.dropFirst() }
        guard rest.starts(with: key.unicodeScalars) else { return false }
        rest = rest.dropFirst(key.unicodeScalars.count)
        if let quote {
            guard rest.first == quote else { return false }
            rest = rest.dropFirst()
        }
        rest = rest.drop { $0 == " " }
        return rest.first == ":"
    }
}
