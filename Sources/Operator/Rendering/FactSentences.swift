// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel

/// The words of each fact as lines of a watch. Remembers what was said, so that nothing is said twice.
struct FactSentences {
    /// Of the things that a database task reports, so many are told; the report has all of them.
    private static let details = 6

    private var words = EventWords()
    /// What a database task failed with, one finding a line.
    private var findings = ""

    /// The sentence, and lines that belong to it.
    mutating func describe(_ event: RunEvent) -> [String] {
        var sentence = words.sentence(of: event)
        sentence.text = saidOnce(sentence.text)
        if case .databaseTaskEnded(let ended) = event {
            findings = sentence.findings.isEmpty ? "" : ended.failure?.message ?? ""
        }
        // One thing stands in the line itself, and many below it.
        let isShort = sentence.details.count == 1
        if isShort { sentence.text += ": \(sentence.details[0])" }
        if let next = sentence.next, sentence.findings.isEmpty {
            sentence.text += "; next: \(next)"
        }
        return printableLines(sentence.text)
            + (isShort ? [] : FactSentences.few(sentence.details))
            + sentence.findings.map(\.description)
    }

    /// A reason without the findings that were listed just before.
    private func saidOnce(_ text: String) -> String {
        guard !findings.isEmpty else { return text }
        return text.replacing(": \(findings)", with: ", see above")
    }

    private static func few(_ lines: [String]) -> [String] {
        let rest = lines.count - details
        return Array(lines.prefix(details))
            + (rest > 0 ? ["… and \(rest) more; the report has all"] : [])
    }
}
