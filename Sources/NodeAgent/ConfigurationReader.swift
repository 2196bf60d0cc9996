// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import Yams

/// Collects what is wrong with a configuration, each with its place.
final class ConfigurationFindings {
    let file: String
    private(set) var list: [Diagnostic] = []

    init(file: String) { self.file = file }

    var hasErrors: Bool { list.contains { $0.severity == .error } }

    func error(_ code: String, at mark: Mark?, _ message: String, advice: String? = nil) {
        add(.error, code, mark, message, advice)
    }

    func warning(_ code: String, at mark: Mark?, _ message: String, advice: String? = nil) {
        add(.warning, code, mark, message, advice)
    }

    private func add(
        _ severity: Diagnostic.Severity, _ code: String, _ mark: Mark?, _ message: String,
        _ advice: String?
    ) {
        guard list.count < 200 else { return }
        let place = Diagnostic.Place(file: file, line: mark?.line ?? 1, column: mark?.column ?? 1)
        list.append(Diagnostic(severity, code: code, at: place, message, advice: advice))
    }

    /// What a file is that has no keys.
    static func noMapping(_ root: Node?) -> String {
        switch root {
        case nil:
            "the file is empty, or all of it is comments; it has to be a mapping of keys to values"
        case .sequence: "the file is a list; it has to be a mapping of keys to values"
        default: "the file is plain text; it has to be a mapping of keys to values, `key: value`"
        }
    }

    /// In the order of the text.
    var sorted: [Diagnostic] {
        list.enumerated().sorted { left, right in
            let places = [left, right].map {
                ($0.element.place?.line ?? 0, $0.element.place?.column ?? 0)
            }
            return places[0] == places[1] ? left.offset < right.offset : places[0] < places[1]
        }.map(\.element)
    }
}

/// A mapping that is read key by key. Whatever nobody has asked for when it is finished is an unknown key.
final class ConfigurationSection {
    let path: String
    let mark: Mark?
    let findings: ConfigurationFindings
    private var entries: [(key: String, keyMark: Mark?, value: Node)] = []
    private var asked: [String] = []

    init(_ node: Node?, path: String, findings: ConfigurationFindings) {
        self.path = path
        self.findings = findings
        mark = node?.mark
        guard let node, !node.isNothing else { return }
        guard case .mapping(let mapping) = node else {
            findings.error(
                "type", at: node.mark, "`\(path)` has to be a section of keys",
                advice: "write its keys indented below it")
            return
        }
        for (key, value) in mapping {
            entries.append((key.string ?? "", key.mark, value))
        }
    }

    private func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    /// The value of a key; `nil` when it is not there.
    func node(_ key: String) -> Node? {
        asked.append(key)
        return entries.first { $0.key == key }?.value
    }

    func required(_ key: String) -> Node? {
        let found = node(key)
        if found == nil || found?.isNothing == true {
            findings.error(
                "missing-key", at: mark, "`\(name(key))` is missing",
                advice: "agents/agent.yaml shows every key")
            return nil
        }
        return found
    }

    func section(_ key: String) -> ConfigurationSection {
        ConfigurationSection(node(key), path: name(key), findings: findings)
    }

    /// The sections of a map from names of the user's choice.
    func named<Name: SafeName>(_ key: String, _ type: Name.Type) -> [(Name, ConfigurationSection)] {
        let section = section(key)
        return section.entries.compactMap { entry in
            guard let name = Name(rawValue: entry.key) else {
                findings.error(
                    "name", at: entry.keyMark, "`\(entry.key)` is not a name",
                    advice: "use 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or a digit")
                return nil
            }
            return (
                name,
                ConfigurationSection(
                    entry.value, path: "\(section.path).\(entry.key)", findings: findings)
            )
        }
    }

    /// Reports every key that nobody has asked for.
    func finish() {
        for entry in entries where !asked.contains(entry.key) {
            let near = nearest(to: entry.key, among: asked)
            findings.error(
                "unknown-key", at: entry.keyMark, "`\(name(entry.key))` is not a key",
                advice: near.map { "did you mean `\($0)`?" }
                    ?? "known here: \(asked.joined(separator: ", "))")
        }
    }
}

// MARK: Values

extension ConfigurationSection {
    func text(_ key: String) -> String? { node(key).flatMap { text($0, key) } }
    func requiredText(_ key: String) -> String? { required(key).flatMap { text($0, key) } }

    private func text(_ node: Node, _ key: String) -> String? {
        guard let text = node.scalar?.string, !text.isEmpty,
            text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 })
        else { return wrong(key, node, "a text") }
        return text
    }

    /// An absolute path without `.` and `..`.
    func path(_ key: String, required isRequired: Bool = false) -> String? {
        guard let node = isRequired ? required(key) : node(key), let text = text(node, key) else {
            return nil
        }
        return checkedPath(text, key, node)
    }

    private func checkedPath(_ text: String, _ key: String, _ node: Node) -> String? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: true)
        guard text.hasPrefix("/"), !parts.contains("."), !parts.contains("..") else {
            return wrong(key, node, "an absolute path without `.` and `..`")
        }
        return "/" + parts.joined(separator: "/")
    }

    func span(_ key: String, default standard: Span, from least: Span, to most: Span) -> Span {
        guard let node = node(key) else { return standard }
        guard let span = node.scalar.flatMap({ Span(text: $0.string) }), least <= span, span <= most
        else {
            return wrong(key, node, "a span from \(least) to \(most), such as \(standard)")
                ?? standard
        }
        return span
    }

    func number(_ key: String, default standard: Int, in range: ClosedRange<Int>) -> Int {
        guard let node = node(key) else { return standard }
        guard let number = node.scalar.flatMap({ Int($0.string) }), range.contains(number) else {
            return wrong(key, node, "a number from \(range.lowerBound) to \(range.upperBound)")
                ?? standard
        }
        return number
    }

    func boolean(_ key: String, default standard: Bool) -> Bool {
        guard let node = node(key) else { return standard }
        switch node.scalar?.string {
        case "true", "yes": return true
        case "false", "no": return false
        default: return wrong(key, node, "true or false") ?? standard
        }
    }

    func texts(_ key: String, required isRequired: Bool = false) -> [(text: String, mark: Mark?)] {
        guard let node = isRequired ? required(key) : node(key) else { return [] }
        guard case .sequence(let sequence) = node, sequence.count <= 1000 else {
            let nothing: [(String, Mark?)]? = wrong(key, node, "a list, such as [first, second]")
            return nothing ?? []
        }
        return sequence.compactMap { item in text(item, key).map { ($0, item.mark) } }
    }

    @discardableResult
    func wrong<Value>(_ key: String, _ node: Node, _ expected: String) -> Value? {
        findings.error("value", at: node.mark, "`\(name(key))` has to be \(expected)")
        return nil
    }
}

extension Node {
    var isNothing: Bool {
        guard let scalar, scalar.style == .plain else { return false }
        return ["", "~", "null"].contains(scalar.string)
    }
}

/// The key that a misspelt one was most likely meant to be.
private func nearest(to word: String, among candidates: [String]) -> String? {
    guard word.utf8.count <= 64 else { return nil }
    let best = candidates.map { ($0, distance(Array(word.utf8), Array($0.utf8))) }.min {
        $0.1 < $1.1
    }
    guard let best, best.1 <= max(1, word.utf8.count / 3) else { return nil }
    return best.0
}

/// How many letters have to be put in, left out or replaced (Levenshtein 1966).
private func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var row = Array(0...right.count)
    for (index, byte) in left.enumerated() {
        var diagonal = row[0]
        row[0] = index + 1
        for column in right.indices {
            let above = row[column + 1]
            row[column + 1] = min(
                above + 1, row[column] + 1, diagonal + (byte == right[column] ? 0 : 1))
            diagonal = above
        }
    }
    return row[right.count]
}
