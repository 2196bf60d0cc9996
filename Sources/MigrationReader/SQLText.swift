// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// The little that has to be known of SQL's text beside the parser.
enum SQLText {
    /// Where something begins, after white space and comments.
    static func skipBlanks(_ bytes: [UInt8], _ range: Range<Int>) -> Int {
        var index = range.lowerBound
        func starts(_ first: Unicode.Scalar, _ second: Unicode.Scalar) -> Bool {
            index + 1 < range.upperBound && bytes[index] == UInt8(ascii: first)
                && bytes[index + 1] == UInt8(ascii: second)
        }
        while index < range.upperBound {
            if isSpace(bytes[index]) {
                index += 1
            } else if starts("-", "-") {
                while index < range.upperBound, !isLineEnd(bytes[index]) { index += 1 }
            } else if starts("/", "*") {
                var depth = 0
                repeat {
                    if starts("/", "*") {
                        depth += 1
                        index += 2
                    } else if starts("*", "/") {
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

    /// The first word in capitals, or nothing when there is no word.
    static func firstWord(_ bytes: [UInt8], _ range: Range<Int>) -> String {
        var start = skipBlanks(bytes, range)
        // A query may stand in parentheses.
        while start < range.upperBound, bytes[start] == UInt8(ascii: "(") {
            start = skipBlanks(bytes, (start + 1)..<range.upperBound)
        }
        let word = bytes[start..<range.upperBound].prefix(40).prefix(while: isLetter)
        return String(decoding: word, as: UTF8.self).uppercased()
    }

    /// The end of the identifier, in double quotes or without, that begins at `start`.
    static func endOfIdentifier(_ bytes: [UInt8], _ start: Int) -> Int {
        var index = start
        guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else {
            while index < bytes.count, isPartOfName(bytes[index]) { index += 1 }
            return index
        }
        index += 1
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "\"") {
                guard index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "\"") else {
                    return index + 1
                }
                index += 1
            }
            index += 1
        }
        return index
    }

    /// The words of a text in capitals, without what stands in comments and strings.
    static func words(_ text: String) -> [String] {
        let bytes = Array(text.utf8)
        var words: [String] = []
        var index = skipBlanks(bytes, 0..<bytes.count)
        while index < bytes.count {
            if isLetter(bytes[index]) {
                let end = bytes[index...].firstIndex { !isPartOfName($0) } ?? bytes.count
                words.append(String(decoding: bytes[index..<end], as: UTF8.self).uppercased())
                index = end
            } else if bytes[index] == UInt8(ascii: "'") {
                index =
                    (bytes[(index + 1)...].firstIndex(of: UInt8(ascii: "'")) ?? bytes.count - 1) + 1
            } else {
                if bytes[index] == UInt8(ascii: ";") { words.append(";") }
                index += 1
            }
            index = skipBlanks(bytes, index..<bytes.count)
        }
        return words
    }

    static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
    static func isLineEnd(_ byte: UInt8) -> Bool { byte == 10 || byte == 13 }
    private static func isLetter(_ byte: UInt8) -> Bool {
        (65...90).contains(byte) || (97...122).contains(byte) || byte == 95
    }
    private static func isPartOfName(_ byte: UInt8) -> Bool {
        isLetter(byte) || (48...57).contains(byte) || byte == 36 || byte >= 128
    }
}

/// Tells line and column of offsets that rise, and reads the text once for all of them.
struct PlaceCursor {
    private let file: String
    private let bytes: [UInt8]
    private var offset = 0
    private var line = 1
    private var column = 1

    init(file: String, bytes: [UInt8]) {
        self.file = file
        self.bytes = bytes
    }

    /// The position of a byte; not before the one that was asked for last.
    mutating func position(of target: Int) -> Diagnostic.Position {
        while offset < min(target, bytes.count) {
            let byte = bytes[offset]
            offset += 1
            // LF, and CR where no LF follows; characters and not bytes are counted.
            if byte == 10 || byte == 13 && !(offset < bytes.count && bytes[offset] == 10) {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return .init(file: file, line: line, column: column)
    }
}
