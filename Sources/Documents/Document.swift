// SPDX-License-Identifier: Apache-2.0

/// A text that was read against a table of keys.
public struct Document: Sendable {
    /// What the text says, even when much of it is wrong; `nil` when there was nothing to read.
    public let values: DocumentValues?
    /// What was found so far; checks of values together add to it.
    public var findings: Findings

    /// Reads on past every error that leaves something to read, so that one look shows them all.
    ///
    /// - Parameters:
    ///   - file: the name to show in findings.
    ///   - isStored: whether the document was found valid before, maybe by an earlier version; see `Findings.errorUnlessStored`.
    public static func read(
        text: String, file: String, rules: DocumentRules, isStored: Bool = false
    ) -> Document {
        var findings = Findings(file: file, isStored: isStored)
        guard let source = SourceText(text, rules: rules, findings: &findings),
            let tree = DocumentTree.compose(source, rules: rules, findings: &findings)
        else { return Document(values: nil, findings: findings) }
        var checker = KeyChecker(rules: rules, findings: findings)
        let values = checker.check(document: tree)
        return Document(values: values, findings: checker.findings)
    }

    /// Reads the bytes of a file, which must be UTF-8.
    public static func read(
        bytes: some Collection<UInt8>, file: String, rules: DocumentRules
    ) -> Document {
        var findings = Findings(file: file)
        if bytes.count > DocumentLimits.bytes {
            findings.refuseSize(bytes.count, rules)
        } else if let text = String(validating: bytes, as: UTF8.self) {
            return read(text: text, file: file, rules: rules)
        } else {
            findings.error(
                "encoding", at: findings.start, "the \(rules.noun) is not UTF-8 text",
                advice: "save it as UTF-8")
        }
        return Document(values: nil, findings: findings)
    }
}
