// SPDX-License-Identifier: Apache-2.0

/// A text from outside on one line, with nothing in it that a terminal, a log or a reader could take for more than text.
///
/// Control characters (escape sequences among them) and the characters that turn the direction of writing become `�`;
/// line breaks and tabs become spaces.
public func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { isNotText($0) }) else { return text }
    return String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { scalar in
                switch scalar.value {
                case 0x09, 0x0A, 0x0D: " "
                default: isNotText(scalar) ? "\u{FFFD}" : scalar
                }
            }))
}

private func isNotText(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x00...0x1F, 0x7F...0x9F, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF: true
    default: false
    }
}
