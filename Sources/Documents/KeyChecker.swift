// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Compares a tree with the table of keys: what is unknown, missing, given twice or of another type.
struct KeyChecker {
    private let rules: DocumentRules
    var findings: Findings

    init(rules: DocumentRules, findings: Findings) {
        self.rules = rules
        self.findings = findings
    }

    /// - Returns: what the tree says, even when much of it is wrong; `nil` when it is no section at all.
    mutating func check(document tree: DocumentTree) -> DocumentValues? {
        guard case .mapping(let pairs) = tree.content else {
            findings.error(
                "type", at: tree.position, "expected the keys of a \(rules.noun), not \(tree.kind)",
                advice: rules.beginning)
            return nil
        }
        var values = DocumentValues(
            position: findings.start, title: "", prefix: "", table: rules.keys)
        check(pairs, against: rules.keys.keys, path: "", position: findings.start, into: &values)
        return values
    }

    // MARK: Sections

    private mutating func check(
        _ pairs: [DocumentTree.Pair], against keys: [DocumentKey], path: String,
        position: Diagnostic.Position, into values: inout DocumentValues
    ) {
        var seen: [String: Diagnostic.Position] = [:]
        var meant: Set<String> = []
        let section = section(path, of: values)
        for pair in pairs {
            seen[pair.key] = pair.keyPosition
            if let key = keys.first(where: { $0.name == pair.key }) {
                check(pair, against: key, path: path + key.name, into: &values)
            } else if let suggestion = refuse(pair, among: keys, section: section) {
                meant.insert(suggestion)
            }
        }
        for key in keys where key.isRequired && seen[key.name] == nil && !meant.contains(key.name) {
            findings.error(
                "missing-key", at: position,
                "`\(key.name)` is missing\(section.isEmpty ? "" : " in `\(section)`")",
                advice: "add `\(key.name): …` (\(key.kind))")
        }
        for name in meant { values.setFaulty(path + name) }
    }

    /// How a finding names a section: `rollout.health`, or `actions.start-app`.
    private func section(_ path: String, of values: DocumentValues) -> String {
        [values.title, String(path.dropLast())].filter { !$0.isEmpty }.joined(separator: ".")
    }

    /// - Returns: the sibling that the unknown key was most likely meant to be.
    private mutating func refuse(
        _ pair: DocumentTree.Pair, among keys: [DocumentKey], section: String
    ) -> String? {
        guard !findings.isFull else {
            findings.error(
                "unknown-key", at: pair.keyPosition, "an unknown key", advice: "remove it")
            return nil
        }
        if rules.secretAdvice != nil, Secret.isNamed(by: pair.key),
            case .scalar(let text, _) = pair.value.content, !text.hasPrefix("env:")
        {
            findings.error(
                "secret-in-clear", at: pair.keyPosition,
                "\(quoted(pair.key)) holds a secret written in clear, by its name",
                advice: "remove it: a \(rules.noun) names a secret only by `env:NAME`, as in"
                    + " `database.url`")
            return nil
        }
        if pair.key == "<<" {
            findings.refuseAlias(at: pair.keyPosition)
            return nil
        }
        let suggestion = nearest(to: pair.key, among: keys.map(\.name))
        let elsewhere = rules.keys.paths.filter { $0.key.name == pair.key }.map { "`\($0.path)`" }
        let advice =
            if let suggestion {
                "did you mean `\(suggestion)`?"
            } else if !elsewhere.isEmpty {
                "it belongs to another section: " + elsewhere.joined(separator: " or ")
            } else {
                "write one of " + keys.map(\.name).joined(separator: ", ")
            }
        findings.error(
            "unknown-key", at: pair.keyPosition,
            "\(quoted(pair.key)) is not a key of"
                + " \(section.isEmpty ? "a \(rules.noun)" : "`\(section)`")",
            advice: advice)
        return suggestion
    }

    // MARK: Values

    private mutating func check(
        _ pair: DocumentTree.Pair, against key: DocumentKey, path: String,
        into values: inout DocumentValues
    ) {
        let before = findings.count
        if pair.value.isNull, !key.mayBeEmpty {
            refuseNull(pair, key)
        } else if case .refused = pair.value.content {
            // Reported where it was found.
        } else {
            switch key.kind {
            case .section(let keys): section(pair, keys, path, into: &values)
            case .sections(let keys, let maximum):
                sections(pair, key, keys, maximum, path, into: &values)
            case .named(let keys, let maximum):
                named(pair, key, keys, maximum, path, into: &values)
            case .labels(let maximum): labels(pair, key, maximum, path, into: &values)
            case .list(let element, let rules):
                list(pair, key, element, rules, path, into: &values)
            default:
                if let value = scalar(pair.value, key.kind) {
                    values.set(path, value, at: pair.keyPosition)
                }
            }
        }
        if findings.count > before || pair.value.hasRefused { values.setFaulty(path) }
    }

    private mutating func refuseNull(_ pair: DocumentTree.Pair, _ key: DocumentKey) {
        let advice =
            switch key.presence {
            case .required: "write its value (\(key.kind))"
            case .fallback(let text): "write its value, or remove the key for the default, \(text)"
            case .optional: "write its value (\(key.kind)), or remove the key"
            }
        findings.error(
            "no-value", at: pair.keyPosition, "`\(key.name)` has no value", advice: advice)
    }

    mutating func scalar(_ tree: DocumentTree, _ kind: DocumentKey.Kind) -> DocumentValue? {
        guard case .scalar(let text, let isQuoted) = tree.content else {
            if case .refused = tree.content { return nil }
            findings.error(
                "type", at: tree.position, "expected one value, not \(tree.kind)",
                advice: "write the value (\(kind)) alone")
            return nil
        }
        guard !text.isEmpty, !tree.isNull else {
            findings.error(
                "no-value", at: tree.position, "there is no value here",
                advice: "write one (\(kind))")
            return nil
        }
        return accept(kind.read(scalar: text, isQuoted: isQuoted), at: tree.position)
    }

    mutating func accept<Value>(
        _ result: Result<Value, Mismatch>, at position: Diagnostic.Position
    ) -> Value? {
        switch result {
        case .success(let value): return value
        case .failure(let mismatch):
            findings.error(mismatch.code, at: position, mismatch.message, advice: mismatch.advice)
            return nil
        }
    }

    private mutating func section(
        _ pair: DocumentTree.Pair, _ keys: [DocumentKey], _ path: String,
        into values: inout DocumentValues
    ) {
        guard let pairs = pairs(pair.value, keys, of: "below `\(pair.key)`") else { return }
        values.setSection(path, at: pair.keyPosition)
        check(pairs, against: keys, path: path + ".", position: pair.keyPosition, into: &values)
    }

    /// The keys of a section, none when there is nothing; `nil` when it is something else, which is reported.
    private mutating func pairs(
        _ tree: DocumentTree, _ keys: [DocumentKey], of location: String
    ) -> [DocumentTree.Pair]? {
        if case .mapping(let pairs) = tree.content { return pairs }
        if tree.isNull { return [] }
        findings.error(
            "type", at: tree.position, "expected a section, not \(tree.kind)",
            advice: "write its keys indented \(location): "
                + keys.map(\.name).joined(separator: ", "))
        return nil
    }

    private mutating func sections(
        _ pair: DocumentTree.Pair, _ key: DocumentKey, _ keys: [DocumentKey], _ maximum: Int,
        _ path: String, into values: inout DocumentValues
    ) {
        guard let items = items(pair, key, maximum) else { return }
        var sections: [DocumentValues] = []
        for item in items {
            if case .refused = item.content { continue }
            guard case .mapping(let pairs) = item.content else {
                findings.error(
                    "type", at: item.position, "expected a section, not \(item.kind)",
                    advice: "write `- ` and its keys: " + keys.map(\.name).joined(separator: ", "))
                continue
            }
            var section = DocumentValues(
                position: item.position, title: values.path(path), prefix: values.path(path),
                table: rules.keys)
            check(pairs, against: keys, path: "", position: item.position, into: &section)
            sections.append(section)
        }
        values.set(path, .sections(sections), at: pair.keyPosition)
    }

    private mutating func named(
        _ pair: DocumentTree.Pair, _ key: DocumentKey, _ keys: [DocumentKey], _ maximum: Int,
        _ path: String, into values: inout DocumentValues
    ) {
        guard case .mapping(let pairs) = pair.value.content else {
            if pair.value.isNull { return }
            findings.error(
                "type", at: pair.value.position,
                "expected names with sections, not \(pair.value.kind)",
                advice: "write `name:` below `\(key.name)`, and its keys further indented")
            return
        }
        guard !isTooLong(pair, key, pairs.count, maximum, "names") else { return }
        var named: [DocumentValue.Named] = []
        for entry in pairs {
            guard let name = accept(key.kind.readName(entry.key), at: entry.keyPosition),
                let inner = self.pairs(entry.value, keys, of: "below `\(entry.key)`")
            else { continue }
            var section = DocumentValues(
                position: entry.keyPosition, title: "\(values.path(path)).\(name)",
                prefix: values.path(path), table: rules.keys)
            check(inner, against: keys, path: "", position: entry.keyPosition, into: &section)
            named.append(.init(name: name, values: section))
        }
        values.set(path, .named(named), at: pair.keyPosition)
    }
}

extension DocumentValues {
    /// The table's path of a key of this section.
    func path(_ path: String) -> String { prefix.isEmpty ? path : "\(prefix).\(path)" }
}

extension DocumentKey {
    /// A section whose keys may all be left out may have none: those of a configuration are behind `#` until they are needed.
    var mayBeEmpty: Bool {
        switch kind {
        case .section(let keys): !isRequired && !keys.contains(where: \.isRequired)
        case .named: true
        default: false
        }
    }
}
