// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Why a value is not what its key takes.
public struct Mismatch: Error, Hashable, Sendable {
    public var code: String
    public var message: String
    public var advice: String

    public init(code: String, message: String, advice: String) {
        self.code = code
        self.message = message
        self.advice = advice
    }

    /// "expected a span, not `10`"
    public static func wrongType(
        _ expected: String, _ text: String, advice: String
    ) -> Mismatch {
        Mismatch(code: "type", message: "expected \(expected), not \(quoted(text))", advice: advice)
    }

    static func outOfRange(_ what: String, _ advice: String) -> Mismatch {
        Mismatch(code: "range", message: "\(what) out of range", advice: "write \(advice)")
    }
}

/// A whole number of at most nine digits and nothing else.
public func wholeNumber(_ text: String) -> Int? {
    guard (1...9).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) })
    else { return nil }
    return Int(text)
}

extension DocumentKey.Kind {
    /// Reads one scalar as this kind.
    ///
    /// The kinds that are lists or sections have no scalar form and answer with what to write instead.
    func read(scalar text: String, isQuoted: Bool) -> Result<DocumentValue, Mismatch> {
        switch self {
        case .name: readName(text).map(DocumentValue.text)
        case .text(let maximum): readText(text, maximum).map(DocumentValue.text)
        case .path: readText(text, 1024).map(DocumentValue.text)
        case .absolutePath: readAbsolutePath(text)
        case .word(let words): readWord(text, words).map(DocumentValue.text)
        case .span(let range): readSpan(text, range)
        case .count(let range): readCount(text, range, isQuoted: isQuoted)
        case .flag: readFlag(text)
        case .form(let form): form.problem(text).map { .failure($0) } ?? .success(.text(text))
        case .list(let element, let rules):
            rules.single == nil
                ? .failure(
                    .wrongType(
                        "a list", text, advice: "write `[\(isSafeName(text) ? text : "name")]`"))
                : element.read(scalar: text, isQuoted: isQuoted)
        case .labels:
            .failure(
                .wrongType("labels", text, advice: "write `label: value` lines below the key"))
        case .section:
            .failure(.wrongType("a section", text, advice: "write its keys indented below it"))
        case .sections:
            .failure(.wrongType("a list of sections", text, advice: "write `- key: value` lines"))
        case .named:
            .failure(
                .wrongType(
                    "names with sections", text,
                    advice: "write `name:` and below it its keys, further indented"))
        }
    }

    func readName(_ text: String) -> Result<String, Mismatch> {
        isSafeName(text)
            ? .success(text)
            : .failure(
                Mismatch(
                    code: "name", message: "\(quoted(text)) is not a name",
                    advice: "write 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit"))
    }

    func readWord(_ text: String, _ words: [String]) -> Result<String, Mismatch> {
        guard !words.contains(text) else { return .success(text) }
        let advice =
            nearest(to: text, among: words).map { "did you mean `\($0)`?" }
            ?? "write one of " + words.joined(separator: ", ")
        return .failure(
            Mismatch(code: "word", message: "\(quoted(text)) is not known here", advice: advice))
    }

    // MARK: One kind each

    private func readText(_ text: String, _ maximum: Int) -> Result<String, Mismatch> {
        // A character may be of any number of scalars: sixteen bytes for each are enough for any language, and a bound.
        guard text.count <= maximum, text.utf8.count <= 16 * maximum else {
            return .failure(
                Mismatch(
                    code: "range",
                    message: text.count > maximum
                        ? "\(text.count) characters are too many"
                        : "\(text.utf8.count) bytes are too many",
                    advice: "write at most \(maximum)"
                        + (text.count > maximum ? "" : " characters of few bytes")))
        }
        guard !text.unicodeScalars.contains(where: isControl)
        else {
            return .failure(
                Mismatch(
                    code: "type", message: "expected text on one line",
                    advice: "remove line breaks and tabs"))
        }
        return .success(text)
    }

    private func readAbsolutePath(_ text: String) -> Result<DocumentValue, Mismatch> {
        readText(text, 1024).flatMap { text in
            let parts = text.split(separator: "/", omittingEmptySubsequences: true)
            guard text.hasPrefix("/"), !parts.contains("."), !parts.contains("..") else {
                return .failure(
                    .wrongType(
                        "an absolute path", text,
                        advice: "write one that begins with / and has no `.` and `..` in it"))
            }
            return .success(.text("/" + parts.joined(separator: "/")))
        }
    }

    private func readFlag(_ text: String) -> Result<DocumentValue, Mismatch> {
        switch text {
        case "true", "yes": .success(.flag(true))
        case "false", "no": .success(.flag(false))
        default: .failure(.wrongType("true or false", text, advice: "write one of true, false"))
        }
    }

    private func readSpan(
        _ text: String, _ range: ClosedRange<Span>
    ) -> Result<DocumentValue, Mismatch> {
        guard let span = Span(text: text) else {
            let advice =
                wholeNumber(text) != nil
                ? "write its unit: `\(text)s` or `\(text)m`"
                : "write a whole number and one unit (ms, s, m, h, d), such as `10s` or `5m`"
            return .failure(.wrongType("a span", text, advice: advice))
        }
        guard range.contains(span) else {
            return .failure(
                .outOfRange("\(span) is", "\(range.lowerBound) to \(range.upperBound)"))
        }
        return .success(.span(span))
    }

    private func readCount(
        _ text: String, _ range: ClosedRange<Int>, isQuoted: Bool
    ) -> Result<DocumentValue, Mismatch> {
        guard let number = wholeNumber(text), !isQuoted else {
            let advice =
                wholeNumber(text).map { "write \($0) without quotes" }
                ?? "write digits only, \(range.lowerBound) to \(range.upperBound)"
            return .failure(.wrongType("a number", text, advice: advice))
        }
        guard range.contains(number) else {
            return .failure(
                .outOfRange("\(number) is", "\(range.lowerBound) to \(range.upperBound)"))
        }
        return .success(.count(number))
    }
}
