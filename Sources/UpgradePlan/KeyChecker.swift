// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Compares a tree with the table of keys: what is unknown, missing, given twice or of another type.
struct KeyChecker {
    private(set) var findings: Findings

    init(findings: Findings) { self.findings = findings }

    /// - Returns: what the tree says, even when much of it is wrong; `nil` when it is no section at all.
    mutating func check(plan tree: YAMLTree) -> PlanValues? {
        guard case .mapping(let pairs) = tree.content else {
            findings.error(
                "type", at: tree.place, "expected the keys of a plan, not \(tree.kind)",
                advice: "begin from `plans/minimal.yaml`")
            return nil
        }
        let start = findings.place(line: 1, column: 1)
        var values = PlanValues(place: start, prefix: "")
        check(pairs, against: PlanKeys.all, path: "", place: start, into: &values)
        return values
    }

    // MARK: Sections

    private mutating func check(
        _ pairs: [YAMLTree.Pair], against keys: [PlanKey], path: String, place: Diagnostic.Place,
        into values: inout PlanValues
    ) {
        var seen: [String: Diagnostic.Place] = [:]
        var meant: Set<String> = []
        for pair in pairs {
            if let first = seen[pair.key] {
                findings.error(
                    "duplicate-key", at: pair.keyPlace,
                    "\(quoted(pair.key)) is given again; it was first on line \(first.line)",
                    advice: "keep one of them")
                continue
            }
            seen[pair.key] = pair.keyPlace
            if let key = keys.first(where: { $0.name == pair.key }) {
                check(pair, against: key, path: path + key.name, into: &values)
            } else if let suggestion = refuse(pair, among: keys, path: path, prefix: values.prefix)
            {
                meant.insert(suggestion)
            }
        }
        for key in keys where seen[key.name] == nil && !meant.contains(key.name) {
            guard case .required = key.presence else { continue }
            findings.error(
                "missing-key", at: place,
                "`\(key.name)` is missing\(path.isEmpty ? "" : " in `\(path.dropLast())`")",
                advice: "add `\(key.name): …` (\(key.kind))")
        }
        for name in meant where keys.contains(where: { $0.name == name }) {
            values.setFaulty(path + name)
        }
    }

    /// - Returns: the sibling that the unknown key was most likely meant to be.
    private mutating func refuse(
        _ pair: YAMLTree.Pair, among keys: [PlanKey], path: String, prefix: String
    ) -> String? {
        if Secret.isNamed(by: pair.key), case .scalar(let text, _) = pair.value.content,
            EnvironmentReference(text: text) == nil
        {
            findings.error(
                "secret-in-clear", at: pair.keyPlace,
                "\(quoted(pair.key)) holds a secret written in clear, by its name",
                advice: "remove it: a plan names a secret only by `env:NAME`, as in `database.url`")
            return nil
        }
        guard !findings.isFull else {
            findings.error("unknown-key", at: pair.keyPlace, "an unknown key", advice: "remove it")
            return nil
        }
        if pair.key == "<<" {
            findings.refuseAlias(at: pair.keyPlace)
            return nil
        }
        let suggestion = nearest(to: pair.key, among: keys.map(\.name))
        let elsewhere = PlanKeys.paths.filter { $0.key.name == pair.key }.map { "`\($0.path)`" }
        let advice =
            if let suggestion {
                "did you mean `\(suggestion)`?"
            } else if !elsewhere.isEmpty {
                "it belongs to another section: " + elsewhere.joined(separator: " or ")
            } else {
                "write one of " + keys.map(\.name).joined(separator: ", ")
            }
        let section = path.isEmpty ? prefix : String(path.dropLast())
        findings.error(
            "unknown-key", at: pair.keyPlace,
            "\(quoted(pair.key)) is not a key of \(section.isEmpty ? "a plan" : "`\(section)`")",
            advice: advice)
        return suggestion
    }

    // MARK: Values

    private mutating func check(
        _ pair: YAMLTree.Pair, against key: PlanKey, path: String, into values: inout PlanValues
    ) {
        let before = findings.count
        if pair.value.isNull {
            refuseNull(pair, key)
        } else if case .refused = pair.value.content {
            // Reported where it was found.
        } else {
            switch key.kind {
            case .section(let keys): section(pair, keys, path, into: &values)
            case .sections(let keys, let maximum):
                sections(pair, key, keys, maximum, path, into: &values)
            case .labels(let maximum): labels(pair, key, maximum, path, into: &values)
            case .names(let maximum): list(pair, key, maximum, path, into: &values)
            case .words: list(pair, key, Phase.allCases.count, path, into: &values)
            case .sizes(let maximum): sizes(pair, key, maximum, path, into: &values)
            default:
                if let value = scalar(pair.value, key.kind) {
                    values.set(path, value, at: pair.keyPlace)
                }
            }
        }
        if findings.count > before || pair.value.hasRefused { values.setFaulty(path) }
    }

    private mutating func refuseNull(_ pair: YAMLTree.Pair, _ key: PlanKey) {
        let advice =
            switch key.presence {
            case .required: "write its value (\(key.kind))"
            case .standard(let text): "write its value, or remove the key for the default, \(text)"
            case .optional: "write its value (\(key.kind)), or remove the key"
            }
        findings.error("no-value", at: pair.keyPlace, "`\(key.name)` has no value", advice: advice)
    }

    private mutating func scalar(_ tree: YAMLTree, _ kind: PlanKey.Kind) -> PlanValue? {
        guard case .scalar(let text, let isQuoted) = tree.content else {
            if case .refused = tree.content { return nil }
            findings.error(
                "type", at: tree.place, "expected one value, not \(tree.kind)",
                advice: "write the value (\(kind)) alone")
            return nil
        }
        guard !text.isEmpty, !tree.isNull else {
            findings.error(
                "no-value", at: tree.place, "there is no value here",
                advice: "write one (\(kind))")
            return nil
        }
        return accept(kind.read(scalar: text, isQuoted: isQuoted), at: tree.place)
    }

    private mutating func accept<Value>(
        _ result: Result<Value, Mismatch>, at place: Diagnostic.Place
    ) -> Value? {
        switch result {
        case .success(let value): return value
        case .failure(let mismatch):
            findings.error(mismatch.code, at: place, mismatch.message, advice: mismatch.advice)
            return nil
        }
    }

    private mutating func section(
        _ pair: YAMLTree.Pair, _ keys: [PlanKey], _ path: String, into values: inout PlanValues
    ) {
        guard case .mapping(let pairs) = pair.value.content else {
            findings.error(
                "type", at: pair.value.place, "expected a section, not \(pair.value.kind)",
                advice: "write its keys indented below `\(pair.key)`: "
                    + keys.map(\.name).joined(separator: ", "))
            return
        }
        values.setSection(path, at: pair.keyPlace)
        check(pairs, against: keys, path: path + ".", place: pair.keyPlace, into: &values)
    }

    private mutating func sections(
        _ pair: YAMLTree.Pair, _ key: PlanKey, _ keys: [PlanKey], _ maximum: Int, _ path: String,
        into values: inout PlanValues
    ) {
        guard let items = items(pair, key, maximum) else { return }
        var sections: [PlanValues] = []
        for item in items {
            if case .refused = item.content { continue }
            guard case .mapping(let pairs) = item.content else {
                findings.error(
                    "type", at: item.place, "expected a section, not \(item.kind)",
                    advice: "write `- ` and its keys: " + keys.map(\.name).joined(separator: ", "))
                continue
            }
            var section = PlanValues(place: item.place, prefix: path)
            check(pairs, against: keys, path: "", place: item.place, into: &section)
            sections.append(section)
        }
        values.set(path, .sections(sections), at: pair.keyPlace)
    }

    private mutating func items(
        _ pair: YAMLTree.Pair, _ key: PlanKey, _ maximum: Int
    ) -> [YAMLTree]? {
        switch pair.value.content {
        case .sequence(let items) where items.count <= maximum: return items
        case .sequence(let items):
            findings.error(
                "range", at: pair.keyPlace, "`\(key.name)` has \(items.count) items",
                advice: "write at most \(maximum)")
        case .scalar(let text, let isQuoted):
            _ = accept(key.kind.read(scalar: text, isQuoted: isQuoted), at: pair.value.place)
        case .mapping:
            findings.error(
                "type", at: pair.value.place, "expected a list, not a section of keys",
                advice: "write `[first, second]`, or lines that begin with `- `")
        case .refused: break
        }
        return nil
    }

    private mutating func list(
        _ pair: YAMLTree.Pair, _ key: PlanKey, _ maximum: Int, _ path: String,
        into values: inout PlanValues
    ) {
        guard let items = items(pair, key, maximum) else { return }
        var element = PlanKey.Kind.name
        if case .words(let words) = key.kind { element = .word(words) }
        var list: [PlanValue.Item] = []
        for item in items {
            guard case .text(let text) = scalar(item, element) else { continue }
            list.append(.init(text: text, place: item.place))
        }
        refuseRepeated(list)
        values.set(path, .list(list), at: pair.keyPlace)
    }

    private mutating func refuseRepeated(_ list: [PlanValue.Item]) {
        var seen: Set<String> = []
        for item in list where !seen.insert(item.text).inserted {
            findings.error(
                "duplicate-item", at: item.place, "\(quoted(item.text)) is in the list twice",
                advice: "keep one of them")
        }
    }

    private mutating func sizes(
        _ pair: YAMLTree.Pair, _ key: PlanKey, _ maximum: Int, _ path: String,
        into values: inout PlanValues
    ) {
        if case .scalar = pair.value.content {
            if let value = scalar(pair.value, key.kind) {
                values.set(path, value, at: pair.keyPlace)
            }
            return
        }
        guard let items = items(pair, key, maximum) else { return }
        if items.isEmpty {
            findings.error(
                "empty-list", at: pair.value.place, "`\(key.name)` is an empty list",
                advice: "write at least one size, such as `[1, 5, 20%]`; the last one repeats")
        }
        var sizes: [BatchSize] = []
        for item in items {
            if case .sizes(let size) = scalar(item, .size) { sizes += size }
        }
        values.set(path, .sizes(sizes), at: pair.keyPlace)
    }

    private mutating func labels(
        _ pair: YAMLTree.Pair, _ key: PlanKey, _ maximum: Int, _ path: String,
        into values: inout PlanValues
    ) {
        guard case .mapping(let pairs) = pair.value.content else {
            findings.error(
                "type", at: pair.value.place, "expected labels, not \(pair.value.kind)",
                advice: "write `label: value` lines below `\(key.name)`")
            return
        }
        guard pairs.count <= maximum else {
            findings.error(
                "range", at: pair.keyPlace, "`\(key.name)` has \(pairs.count) labels",
                advice: "write at most \(maximum)")
            return
        }
        var labels: [String: String] = [:]
        for label in pairs {
            guard let name = accept(key.kind.readName(label.key), at: label.keyPlace) else {
                continue
            }
            guard labels[name] == nil else {
                findings.error(
                    "duplicate-key", at: label.keyPlace, "the label `\(name)` is given again",
                    advice: "keep one of them: a node has one value for a label")
                continue
            }
            guard case .text(let value) = scalar(label.value, .name) else { continue }
            labels[name] = value
        }
        values.set(path, .labels(labels), at: pair.keyPlace)
    }
}
