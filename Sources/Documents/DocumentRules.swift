// SPDX-License-Identifier: Apache-2.0

/// What kind of document is read: the words for it in findings, and its keys.
public struct DocumentRules: Sendable {
    /// `plan` or `configuration`, as in "the plan has 3 bytes".
    public let noun: String
    /// A file that shows every key: `plans/reference.yaml`.
    public let reference: String
    /// What to do with a file that has no keys: ``begin from `plans/minimal.yaml` ``.
    public let beginning: String
    /// Where a secret belongs instead; `nil` lets secrets stand.
    public let secretAdvice: String?
    public let keys: DocumentTable

    public init(
        noun: String, reference: String, beginning: String, secretAdvice: String?,
        keys: DocumentTable
    ) {
        self.noun = noun
        self.reference = reference
        self.beginning = beginning
        self.secretAdvice = secretAdvice
        self.keys = keys
    }

    /// ``write it flatter; `plans/reference.yaml` shows every key``
    var flatterAdvice: String { "write it flatter; `\(reference)` shows every key" }
}

/// Bounds on every document.
///
/// The YAML library makes a tree of the whole text before anybody can look at it, so that these are asked of the text.
public enum DocumentLimits {
    public static let bytes = 1_048_576
    /// Lines, and commas between items on one line: with these a tree has 50,000 nodes or so at most.
    public static let lines = 25_000
    public static let commas = 25_000
    /// Levels of the tree, the document's own keys being the first.
    public static let depth = 64
    /// Bounds on what makes structure; the limit of levels is asked of the structure itself.
    static let brackets = 1000
    static let indentation = 256
}
