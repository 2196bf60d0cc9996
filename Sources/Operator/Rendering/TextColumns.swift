// SPDX-License-Identifier: Apache-2.0

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
