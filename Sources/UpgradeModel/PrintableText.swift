// SPDX-License-Identifier: Apache-2.0

/// Whether a terminal, or a reader, could take the character for more than text: control characters (escape sequences begin with
/// one), those that turn the direction of writing or are not seen at all, and separators of lines and paragraphs.
///
/// Joiners stay, because words of several scripts and pictures of people are written with them.
public func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII { return scalar.value < 0x20 || scalar.value == 0x7F }
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: return true
    case .format: return scalar.value != 0x200C && scalar.value != 0x200D
    default: return false
    }
}

/// A text from outside on one line, with nothing in it that a terminal, a log or a reader could take for more than text, and no token.
///
/// Harmful characters become `�`; line breaks and tabs become spaces.
public func printable(_ text: String) -> String {
    let text = withoutTokens(text)
    guard text.unicodeScalars.contains(where: isHarmful) else { return text }
    return String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { scalar in
                switch scalar.value {
                case 0x09, 0x0A, 0x0D: " "
                default: isHarmful(scalar) ? "\u{FFFD}" : scalar
                }
            }))
}

/// The same with its lines kept, as the traceback of an action has them. Never empty.
public func printableLines(_ text: String) -> [String] {
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        .map { printable(String($0)) }
    while lines.count > 1, lines.last?.allSatisfy({ $0 == " " }) == true { lines.removeLast() }
    return lines
}

/// The text with every token left out, also one that was cut off: somebody may have pasted it where it does not belong.
public func withoutTokens(_ text: String) -> String {
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
