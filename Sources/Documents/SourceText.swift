// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// The text of a document, with what can be said of it before it is read as YAML.
///
/// These checks come first because the YAML library resolves aliases by itself: a text of a few lines
/// can expand without end, or nest deeper than a stack.
struct SourceText {
    let text: String
    let lines: [Line]
    private let rules: DocumentRules

    struct Line {
        /// From 1.
        var number: Int
        var scalars: [Unicode.Scalar]
    }

    /// - Returns: `nil` when the text must not be handed to the YAML library; `findings` says why.
    init?(_ text: String, rules: DocumentRules, findings: inout Findings) {
        guard text.utf8.count <= DocumentLimits.bytes else {
            findings.refuseSize(text.utf8.count, rules)
            return nil
        }
        self.text = text.hasPrefix("\u{FEFF}") ? String(text.unicodeScalars.dropFirst()) : text
        self.rules = rules
        lines = SourceText.lines(of: self.text)
        guard isOfBoundedSize(&findings) else { return nil }
        findSecrets(&findings)
        let isReadable = findControlCharacters(&findings)
        let isBounded = findDepth(&findings)
        let isPlain = findAliases(&findings)
        guard isReadable && isBounded && isPlain else { return nil }
    }

    /// The character at a position, `nil` outside the text.
    func scalar(at position: Diagnostic.Position) -> Unicode.Scalar? {
        guard lines.indices.contains(position.line - 1) else { return nil }
        let scalars = lines[position.line - 1].scalars
        return scalars.indices.contains(position.column - 1) ? scalars[position.column - 1] : nil
    }

    /// Lines as libyaml counts them: also at NEL, LS and PS.
    private static func lines(of text: String) -> [Line] {
        var lines: [Line] = []
        var line: [Unicode.Scalar] = []
        var previous: Unicode.Scalar = " "
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n" where previous == "\r": break
            case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}":
                lines.append(Line(number: lines.count + 1, scalars: line))
                line.removeAll(keepingCapacity: true)
            default: line.append(scalar)
            }
            previous = scalar
        }
        return lines + [Line(number: lines.count + 1, scalars: line)]
    }

    private func isOfBoundedSize(_ findings: inout Findings) -> Bool {
        if findings.isStored { return true }
        var commas = 0
        for line in lines {
            commas += line.scalars.count { $0 == "," }
            let isLong = line.number > DocumentLimits.lines
            guard isLong || commas > DocumentLimits.commas else { continue }
            findings.error(
                "too-large", at: findings.position(line: line.number, column: 1),
                "the \(rules.noun) has more than "
                    + (isLong
                        ? "\(DocumentLimits.lines) lines" : "\(DocumentLimits.commas) commas"),
                advice: "`\(rules.reference)` shows all that it may say")
            return false
        }
        return true
    }

    private func findSecrets(_ findings: inout Findings) {
        guard let advice = rules.secretAdvice else { return }
        for line in lines {
            for offset in Secret.offsets(in: line.scalars) {
                findings.errorUnlessStored(
                    "secret-in-clear",
                    at: findings.position(line: line.number, column: offset + 1),
                    "a secret is written in clear here, and a \(rules.noun) is stored and shown",
                    advice: advice)
            }
        }
    }

    private func findControlCharacters(_ findings: inout Findings) -> Bool {
        var isClean = true
        for line in lines {
            for (offset, scalar) in line.scalars.enumerated()
            where isControl(scalar) && scalar != "\t" || scalar.value & 0xFFFE == 0xFFFE {
                isClean = false
                findings.error(
                    "control-character",
                    at: findings.position(line: line.number, column: offset + 1),
                    "the character U+\(hexadecimal(scalar)) cannot be part of a \(rules.noun)",
                    advice: "remove it; a \(rules.noun) is plain UTF-8 text")
            }
        }
        return isClean
    }

    private func findDepth(_ findings: inout Findings) -> Bool {
        var brackets = 0
        for line in lines {
            let prefix = line.scalars.prefix { " -?:\t".unicodeScalars.contains($0) }.count
            brackets += line.scalars.count { $0 == "[" || $0 == "{" }
            let isDeep = prefix > DocumentLimits.indentation
            guard isDeep || brackets > DocumentLimits.brackets else { continue }
            findings.error(
                "too-deep", at: findings.position(line: line.number, column: 1),
                isDeep
                    ? "this line begins after \(prefix) columns; a \(rules.noun) nests \(DocumentLimits.depth) levels at most"
                    : "the \(rules.noun) has more than \(DocumentLimits.brackets) opening brackets",
                advice: rules.flatterAdvice)
            return false
        }
        return true
    }

    /// Refuses each alias whose anchor exists, so that the library has none to resolve.
    ///
    /// It looks at names alone, not at quotes: whatever the library would take for a pair is one here.
    /// An anchor without an alias, or the reverse, is harmless and found later, in the structure.
    private func findAliases(_ findings: inout Findings) -> Bool {
        let anchors = references(by: "&")
        let aliases = references(by: "*")
        let names = Set(anchors.map(\.name)).intersection(aliases.map(\.name))
        for reference in anchors + aliases where names.contains(reference.name) {
            findings.refuseAlias(
                at: findings.position(line: reference.line, column: reference.column))
        }
        return names.isEmpty
    }

    private func references(
        by indicator: Unicode.Scalar
    ) -> [(name: String, line: Int, column: Int)] {
        lines.flatMap { line in
            line.scalars.indices.compactMap { index in
                guard line.scalars[index] == indicator else { return nil }
                let name = line.scalars[(index + 1)...].prefix {
                    $0.isASCII
                        && ($0.properties.isAlphabetic
                            || "0123456789_-".unicodeScalars.contains($0))
                }
                guard !name.isEmpty else { return nil }
                return (String(String.UnicodeScalarView(name)), line.number, index + 1)
            }
        }
    }
}

/// Whether a character is of Unicode's category Cc, which never grows.
func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
}

private func hexadecimal(_ scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
}

extension Findings {
    mutating func refuseSize(_ count: Int, _ rules: DocumentRules) {
        error(
            "too-large", at: start,
            "the \(rules.noun) has \(count) bytes; at most \(DocumentLimits.bytes) are read",
            advice: "keep data out of the \(rules.noun): name files and environment variables")
    }

    mutating func refuseAlias(at position: Diagnostic.Position) {
        error(
            "alias", at: position, "anchors and aliases (`&` and `*` before a name) are not read",
            advice: "write the value out at each place where it is meant")
    }
}
