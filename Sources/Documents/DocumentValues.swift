// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What a key was found to have: the result of checking a value against its kind.
public enum DocumentValue: Sendable {
    case text(String)
    case span(Span)
    case count(Int)
    case flag(Bool)
    case list([Item])
    case labels([String: String])
    case sections([DocumentValues])
    case named([Named])

    /// One text of a list.
    public struct Item: Sendable {
        public var text: String
        public var position: Diagnostic.Position
    }

    /// A section under a name of the writer's own.
    public struct Named: Sendable {
        public var name: String
        public var values: DocumentValues
    }
}

/// What a document says, by path and checked key for key, with the defaults for what it does not say.
public struct DocumentValues: Sendable {
    /// The position of the section itself.
    public let position: Diagnostic.Position
    /// How a finding names this section, empty for the document itself: `actions.start-app`.
    public let title: String
    /// The table's path of this section, empty for the document itself: `actions`.
    let prefix: String
    private let table: DocumentTable
    private var given: [String: (value: DocumentValue, position: Diagnostic.Position)] = [:]
    private var sections: [String: Diagnostic.Position] = [:]
    private var faulty: Set<String> = []

    init(position: Diagnostic.Position, title: String, prefix: String, table: DocumentTable) {
        self.position = position
        self.title = title
        self.prefix = prefix
        self.table = table
    }

    /// The values of an empty document: its defaults.
    public init(defaultsOf table: DocumentTable, file: String) {
        let start = Diagnostic.Position(file: file, line: 1, column: 1)
        self.init(position: start, title: "", prefix: "", table: table)
    }

    mutating func set(_ path: String, _ value: DocumentValue, at position: Diagnostic.Position) {
        given[path] = (value, position)
    }

    mutating func setSection(_ path: String, at position: Diagnostic.Position) {
        sections[path] = position
    }

    mutating func setFaulty(_ path: String) { faulty.insert(path) }

    // MARK: Questions

    /// Whether the document has this key, with a value that can be used.
    public func isGiven(_ path: String) -> Bool { given[path] != nil || sections[path] != nil }

    /// Whether the document has this key, with something wrong about it.
    public func isFaulty(_ path: String) -> Bool { faulty.contains(path) }

    /// Whether the document has this key at all.
    public func isPresent(_ path: String) -> Bool { isGiven(path) || faulty.contains(path) }

    /// The position of a key, or of the nearest section around it.
    public func position(of path: String) -> Diagnostic.Position {
        if let position = given[path]?.position ?? sections[path] { return position }
        guard let dot = path.lastIndex(of: ".") else { return position }
        return self.position(of: String(path[..<dot]))
    }

    /// The given value or the default; `nil` when the given one is wrong, or when there is neither.
    public func value(_ path: String) -> DocumentValue? {
        if let given = given[path]?.value { return given }
        guard !faulty.contains(path) else { return nil }
        let full = prefix.isEmpty ? path : "\(prefix).\(path)"
        guard let key = table[full] else {
            preconditionFailure("\(full) is not in the table of keys")
        }
        return key.defaultValue
    }

    public func text(_ path: String) -> String? {
        if case .text(let text) = value(path) { text } else { nil }
    }

    public func name<Name: SafeName>(_ path: String, as type: Name.Type = Name.self) -> Name? {
        text(path).flatMap(Name.init(rawValue:))
    }

    public func span(_ path: String) -> Span? {
        if case .span(let span) = value(path) { span } else { nil }
    }

    public func count(_ path: String) -> Int? {
        if case .count(let count) = value(path) { count } else { nil }
    }

    public func flag(_ path: String) -> Bool? {
        if case .flag(let flag) = value(path) { flag } else { nil }
    }

    public func list(_ path: String) -> [DocumentValue.Item]? {
        if case .list(let list) = value(path) { list } else { nil }
    }

    public func names<Name: SafeName>(_ path: String, as type: Name.Type = Name.self) -> [Name]? {
        list(path)?.compactMap { Name(rawValue: $0.text) }
    }

    public func labels(_ path: String) -> [String: String]? {
        if case .labels(let labels) = value(path) { labels } else { nil }
    }

    public func sections(_ path: String) -> [DocumentValues]? {
        if case .sections(let sections) = value(path) { sections } else { nil }
    }

    public func named(_ path: String) -> [DocumentValue.Named]? {
        if case .named(let named) = value(path) { named } else { nil }
    }
}

extension DocumentKey {
    /// The default, read like a value of the document.
    fileprivate var defaultValue: DocumentValue? {
        guard case .fallback(let text) = presence else { return nil }
        switch kind {
        case .sections: return .sections([])
        case .named: return .named([])
        case .list:
            let position = Diagnostic.Position(file: "", line: 1, column: 1)
            let items = text.split { "[], ".contains($0) }
            return .list(items.map { .init(text: String($0), position: position) })
        default: break
        }
        guard case .success(let value) = kind.read(scalar: text, isQuoted: false) else {
            preconditionFailure("the default of \(name) is not of its kind")
        }
        return value
    }
}
