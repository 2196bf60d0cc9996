// SPDX-License-Identifier: Apache-2.0

/// Whether a terminal, or a reader, could take the character for more than text: control characters (escape sequences begin with
/// one), those that turn the direction of writing or are not seen at all, and separators of lines and paragraphs.
///
/// Joiners stay, because words of several scripts and pictures of people are written with them.
func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII { return scalar.value < 0x20 || scalar.value == 0x7F }
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: return true
    case .format: return scalar.value != 0x200C && scalar.value != 0x200D
    default: return false
    }
}

/// A text from outside on one line, with nothing in it that a terminal or a reader could take for more than text, and no token.
///
/// Harmful characters become `�`; line breaks and tabs become spaces.
func printable(_ text: String) -> String {
    String(
        String.UnicodeScalarView(
            withoutTokens(text).unicodeScalars.map { scalar in
                switch scalar.value {
                case 0x09, 0x0A, 0x0D: " "
                default: isHarmful(scalar) ? "\u{FFFD}" : scalar
                }
            }))
}

/// The same with its lines kept, as the traceback of an action has them. Never empty.
func printableLines(_ text: String) -> [String] {
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        .map { printable(String($0)) }
    while lines.count > 1, lines.last?.allSatisfy({ $0 == " " }) == true { lines.removeLast() }
    return lines
}

/// The text with every token left out, also one that was cut off: somebody may have pasted it where it does not belong.
func withoutTokens(_ text: String) -> String {
    guard text.contains("sluice-") else { return text }
    var result = ""
    var rest = text[...]
    while let found = rest.firstRange(of: "sluice-") {
        let digits = rest[found.upperBound...].prefix(while: \.isHexDigit)
        result += rest[..<found.lowerBound]
        result += digits.count < 16 ? "sluice-\(digits)" : "(a token)"
        rest = rest[digits.endIndex...]
    }
    return result + rest
}

/// How many columns of a terminal a text takes.
func columns(of text: String) -> Int {
    text.reduce(0) { $0 + columns(of: $1) }
}

func columns(of character: Character) -> Int {
    guard let scalar = character.unicodeScalars.first else { return 0 }
    if scalar.isASCII { return 1 }
    switch scalar.value {
    // East Asian wide and full-width forms, and pictographs.
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF,
        0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1FAFF, 0x20000...0x3FFFD:
        return 2
    default: return 1
    }
}

/// The text in at most this many columns; the last one is `…` when something was cut off.
func fitted(_ text: String, to width: Int) -> String {
    guard columns(of: text) > width else { return text }
    guard width > 0 else { return "" }
    var result = ""
    var used = 0
    for character in text {
        let wide = columns(of: character)
        if used + wide > width - 1 { break }
        result.append(character)
        used += wide
    }
    return result + "…"
}

/// The text in lines of at most this many columns, broken at spaces where there are any.
func wrapped(_ text: String, to width: Int) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ").flatMap({ pieces(of: $0, width: max(1, width)) }) {
        if line.isEmpty {
            line = word
        } else if columns(of: line) + 1 + columns(of: word) <= width {
            line += " " + word
        } else {
            lines.append(line)
            line = word
        }
    }
    if !line.isEmpty { lines.append(line) }
    return lines
}

/// A word in pieces that fit a line; most words are one.
private func pieces(of word: Substring, width: Int) -> [String] {
    var pieces: [String] = []
    var piece = ""
    var used = 0
    for character in word {
        let wide = columns(of: character)
        if used + wide > width, !piece.isEmpty {
            pieces.append(piece)
            piece = ""
            used = 0
        }
        piece.append(character)
        used += wide
    }
    return pieces + (piece.isEmpty ? [] : [piece])
}
