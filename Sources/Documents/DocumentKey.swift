// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// One key of a document: its name, what it takes, and what stands in its place when it is absent.
public struct DocumentKey: Sendable {
    public enum Presence: Sendable {
        /// Must be given wherever its section is.
        case required
        /// As if it had been written like this.
        case fallback(String)
        /// Absent means absent.
        case optional
    }

    public indirect enum Kind: Sendable {
        case name
        case text(maximum: Int)
        /// Relative or absolute, at most 1024 characters.
        case path
        /// Absolute, without `.` and `..`; slashes in a row are one.
        case absolutePath
        case word([String])
        case span(ClosedRange<Span>)
        case count(ClosedRange<Int>)
        /// `true` or `yes`, `false` or `no`.
        case flag
        /// A text with a form of its own.
        case form(Form)
        case list(of: Kind, ListRules)
        case labels(maximum: Int)
        case section([DocumentKey])
        case sections([DocumentKey], maximum: Int)
        /// Sections under names of the writer's own.
        case named([DocumentKey], maximum: Int)
    }

    /// A text that one kind of document has, such as `env:NAME`.
    public struct Form: Sendable {
        /// As annotations have it: `env:NAME`.
        public let description: String
        /// What is wrong with a text, or `nil`.
        public let problem: @Sendable (String) -> Mismatch?

        public init(_ description: String, problem: @escaping @Sendable (String) -> Mismatch?) {
            self.description = description
            self.problem = problem
        }
    }

    public struct ListRules: Sendable {
        /// As annotations have it: `list of names`.
        public let description: String
        public let maximum: Int
        /// Whether an item may stand in it twice.
        public let mayRepeat: Bool
        /// Whether one value alone stands for a list of it, and what an empty list is told; `nil`: neither.
        public let single: String?

        public init(
            _ description: String, maximum: Int, mayRepeat: Bool = false, single: String? = nil
        ) {
            self.description = description
            self.maximum = maximum
            self.mayRepeat = mayRepeat
            self.single = single
        }
    }

    public let name: String
    public let kind: Kind
    public let presence: Presence

    public init(_ name: String, _ kind: Kind, _ presence: Presence) {
        self.name = name
        self.kind = kind
        self.presence = presence
    }

    /// The keys inside, for a section, a list of sections or named sections.
    public var children: [DocumentKey] {
        switch kind {
        case .section(let keys), .sections(let keys, _), .named(let keys, _): keys
        default: []
        }
    }

    var isRequired: Bool { if case .required = presence { true } else { false } }

    /// Type, range and default in one line, as the reference file has it above the key.
    public var annotation: String {
        switch presence {
        case .required: "[\(kind.description); required]"
        case .fallback(let text): "[\(kind.description); default \(text)]"
        case .optional: "[\(kind.description); optional]"
        }
    }
}

extension DocumentKey.Kind: CustomStringConvertible {
    public var description: String {
        switch self {
        case .name: "name"
        case .text(let maximum): "text of at most \(maximum) characters"
        case .path: "path"
        case .absolutePath: "absolute path"
        case .word(let words): words.joined(separator: " | ")
        case .span(let range): "span from \(range.lowerBound) to \(range.upperBound)"
        case .count(let range): "number from \(range.lowerBound) to \(range.upperBound)"
        case .flag: "true | false"
        case .form(let form): form.description
        case .list(_, let rules): rules.description
        case .labels: "label: value, each a name"
        case .section: "section"
        case .sections: "list of sections"
        case .named: "names with sections"
        }
    }

    var hasKeys: Bool {
        switch self {
        case .section, .sections, .named: true
        default: false
        }
    }
}

/// The keys of a document, and each by its path: `rollout.health.check`. A list of sections and named sections add nothing to it.
public struct DocumentTable: Sendable {
    public let keys: [DocumentKey]
    /// In the order of the table.
    public let paths: [(path: String, key: DocumentKey)]
    private let byPath: [String: DocumentKey]

    public init(_ keys: [DocumentKey]) {
        self.keys = keys
        paths = DocumentTable.flattened(keys, under: "")
        byPath = Dictionary(paths.map { ($0.path, $0.key) }) { first, _ in first }
    }

    public subscript(path: String) -> DocumentKey? { byPath[path] }

    private static func flattened(
        _ keys: [DocumentKey], under prefix: String
    ) -> [(path: String, key: DocumentKey)] {
        keys.flatMap { key in
            [(prefix + key.name, key)] + flattened(key.children, under: prefix + key.name + ".")
        }
    }
}
