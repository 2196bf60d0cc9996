// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What a document says, by path and checked key for key, with the defaults for what it does not say.
struct PlanValues {
    /// The place of the section itself.
    let place: Diagnostic.Place
    /// The table's path of this section, empty for the plan itself: `hooks`.
    let prefix: String
    private var given: [String: (value: PlanValue, place: Diagnostic.Place)] = [:]
    private var sections: [String: Diagnostic.Place] = [:]
    private var faulty: Set<String> = []

    init(place: Diagnostic.Place, prefix: String) {
        self.place = place
        self.prefix = prefix
    }

    mutating func set(_ path: String, _ value: PlanValue, at place: Diagnostic.Place) {
        given[path] = (value, place)
    }

    mutating func setSection(_ path: String, at place: Diagnostic.Place) { sections[path] = place }

    mutating func setFaulty(_ path: String) { faulty.insert(path) }

    // MARK: Questions

    /// Whether the document has this key, with a value that can be used.
    func isGiven(_ path: String) -> Bool { given[path] != nil || sections[path] != nil }

    /// Whether the document has this key, with something wrong about it.
    func isFaulty(_ path: String) -> Bool { faulty.contains(path) }

    /// Whether the document has this key at all.
    func isPresent(_ path: String) -> Bool { isGiven(path) || faulty.contains(path) }

    /// The place of a key, or of the nearest section around it.
    func place(of path: String) -> Diagnostic.Place {
        if let place = given[path]?.place ?? sections[path] { return place }
        guard let dot = path.lastIndex(of: ".") else { return place }
        return self.place(of: String(path[..<dot]))
    }

    /// The given value or the default; `nil` when the given one is wrong, or when there is neither.
    func value(_ path: String) -> PlanValue? {
        if let given = given[path]?.value { return given }
        guard !faulty.contains(path) else { return nil }
        let full = prefix.isEmpty ? path : "\(prefix).\(path)"
        guard let key = PlanKeys.paths.first(where: { $0.path == full })?.key else {
            preconditionFailure("\(full) is not in the table of keys")
        }
        return key.defaultValue
    }

    func text(_ path: String) -> String? {
        if case .text(let text) = value(path) { text } else { nil }
    }

    func name<Name: SafeName>(_ path: String, as type: Name.Type = Name.self) -> Name? {
        text(path).flatMap(Name.init(rawValue:))
    }

    func span(_ path: String) -> Span? {
        if case .span(let span) = value(path) { span } else { nil }
    }

    func count(_ path: String) -> Int? {
        if case .count(let count) = value(path) { count } else { nil }
    }

    func sizes(_ path: String) -> [BatchSize]? {
        if case .sizes(let sizes) = value(path) { sizes } else { nil }
    }

    func list(_ path: String) -> [PlanValue.Item]? {
        if case .list(let list) = value(path) { list } else { nil }
    }

    func names<Name: SafeName>(_ path: String, as type: Name.Type = Name.self) -> [Name]? {
        list(path)?.compactMap { Name(rawValue: $0.text) }
    }

    func labels(_ path: String) -> [String: String]? {
        if case .labels(let labels) = value(path) { labels } else { nil }
    }

    func sections(_ path: String) -> [PlanValues]? {
        if case .sections(let sections) = value(path) { sections } else { nil }
    }
}

extension PlanKey {
    /// The default, read like a value of the document.
    fileprivate var defaultValue: PlanValue? {
        guard case .standard(let text) = presence else { return nil }
        if text == "[]" {
            if case .sections = kind { return .sections([]) }
            return .list([])
        }
        guard case .success(let value) = kind.read(scalar: text, isQuoted: false) else {
            preconditionFailure("the default of \(name) is not of its kind")
        }
        return value
    }
}
