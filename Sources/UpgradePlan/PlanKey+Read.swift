// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Why a value is not what its key takes.
struct Mismatch: Error {
    var code: String
    var message: String
    var advice: String
}

extension PlanKey.Kind {
    /// Reads one scalar as this kind.
    ///
    /// The kinds that are lists or sections have no scalar form and answer with what to write instead.
    func read(scalar text: String, isQuoted: Bool) -> Result<PlanValue, Mismatch> {
        switch self {
        case .name: readName(text).map(PlanValue.text)
        case .text(let maximum): readText(text, maximum).map(PlanValue.text)
        case .path: readText(text, 1024).map(PlanValue.text)
        case .environment: readEnvironment(text)
        case .word(let words): readWord(text, words).map(PlanValue.text)
        case .span(let range): readSpan(text, range)
        case .count(let range): readCount(text, range, isQuoted: isQuoted)
        case .size, .sizes: readSize(text).map { .sizes([$0]) }
        case .names, .words: .failure(wrongType("a list", text, "write `[\(echo(text, "name"))]`"))
        case .labels:
            .failure(wrongType("labels", text, "write `label: value` lines below the key"))
        case .section: .failure(wrongType("a section", text, "write its keys indented below it"))
        case .sections:
            .failure(wrongType("a list of sections", text, "write `- key: value` lines"))
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

    func readSize(_ text: String) -> Result<BatchSize, Mismatch> {
        let isShare = text.hasSuffix("%")
        guard let number = wholeNumber(isShare ? String(text.dropLast()) : text) else {
            return .failure(
                wrongType("a number of nodes or a percentage", text, "write such as `5` or `25%`"))
        }
        let size: BatchSize = isShare ? .percent(number) : .nodes(number)
        guard size.isValid else {
            let range = isShare ? "1% to 100%" : "1 to \(Limits.nodes.upperBound)"
            return .failure(
                Mismatch(
                    code: "range", message: "\(quoted(text)) is out of range",
                    advice: "write \(range)"))
        }
        return .success(size)
    }

    func wrongType(_ expected: String, _ text: String, _ advice: String) -> Mismatch {
        Mismatch(code: "type", message: "expected \(expected), not \(quoted(text))", advice: advice)
    }

    // MARK: One kind each

    private func readText(_ text: String, _ maximum: Int) -> Result<String, Mismatch> {
        guard text.count <= maximum else {
            return .failure(
                Mismatch(
                    code: "range", message: "\(text.count) characters are too many",
                    advice: "write at most \(maximum)"))
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

    /// The wrong text is never repeated: it is where a URL with a password ends up.
    private func readEnvironment(_ text: String) -> Result<PlanValue, Mismatch> {
        guard EnvironmentReference(text: text) == nil else { return .success(.text(text)) }
        return .failure(
            Mismatch(
                code: "type",
                message: "expected the name of an environment variable of the coordinator",
                advice: "put the value into a variable and write `env:NAME`, as in"
                    + " `env:DATABASE_URL`"))
    }

    private func readSpan(_ text: String, _ range: ClosedRange<Span>) -> Result<PlanValue, Mismatch>
    {
        guard let span = Span(text: text) else {
            let advice =
                wholeNumber(text) != nil
                ? "write its unit: `\(text)s` or `\(text)m`"
                : "write a whole number and one unit (ms, s, m, h, d), such as `10s` or `5m`"
            return .failure(wrongType("a span", text, advice))
        }
        guard range.contains(span) else {
            return .failure(
                Mismatch(
                    code: "range", message: "\(span) is out of range",
                    advice: "write \(range.lowerBound) to \(range.upperBound)"))
        }
        return .success(.span(span))
    }

    private func readCount(
        _ text: String, _ range: ClosedRange<Int>, isQuoted: Bool
    ) -> Result<PlanValue, Mismatch> {
        guard let number = wholeNumber(text), !isQuoted else {
            let advice =
                wholeNumber(text).map { "write \($0) without quotes" }
                ?? "write digits only, \(range.lowerBound) to \(range.upperBound)"
            return .failure(wrongType("a number", text, advice))
        }
        guard range.contains(number) else {
            return .failure(
                Mismatch(
                    code: "range", message: "\(number) is out of range",
                    advice: "write \(range.lowerBound) to \(range.upperBound)"))
        }
        return .success(.count(number))
    }

    private func wholeNumber(_ text: String) -> Int? {
        guard (1...9).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) })
        else { return nil }
        return Int(text)
    }

    private func echo(_ text: String, _ otherwise: String) -> String {
        isSafeName(text) ? text : otherwise
    }
}
