// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension KeyChecker {
    mutating func isTooLong(
        _ pair: DocumentTree.Pair, _ key: DocumentKey, _ count: Int, _ maximum: Int, _ what: String
    ) -> Bool {
        guard count > maximum else { return false }
        findings.error(
            "range", at: pair.keyPosition, "`\(key.name)` has \(count) \(what)",
            advice: "write at most \(maximum)")
        return true
    }

    mutating func items(
        _ pair: DocumentTree.Pair, _ key: DocumentKey, _ maximum: Int
    ) -> [DocumentTree]? {
        switch pair.value.content {
        case .sequence(let items):
            return isTooLong(pair, key, items.count, maximum, "items") ? nil : items
        case .scalar(let text, let isQuoted):
            _ = accept(key.kind.read(scalar: text, isQuoted: isQuoted), at: pair.value.position)
        case .mapping:
            findings.error(
                "type", at: pair.value.position, "expected a list, not a section of keys",
                advice: "write `[first, second]`, or lines that begin with `- `")
        case .refused: break
        }
        return nil
    }

    mutating func list(
        _ pair: DocumentTree.Pair, _ key: DocumentKey, _ element: DocumentKey.Kind,
        _ rules: DocumentKey.ListRules, _ path: String, into values: inout DocumentValues
    ) {
        if rules.single != nil, case .scalar = pair.value.content {
            if case .text(let text) = scalar(pair.value, element) {
                let item = DocumentValue.Item(text: text, position: pair.value.position)
                values.set(path, .list([item]), at: pair.keyPosition)
            }
            return
        }
        guard let items = items(pair, key, rules.maximum) else { return }
        if let advice = rules.single, items.isEmpty {
            findings.error(
                "empty-list", at: pair.value.position, "`\(key.name)` is an empty list",
                advice: advice)
        }
        var list: [DocumentValue.Item] = []
        for item in items {
            guard case .text(let text) = scalar(item, element) else { continue }
            list.append(.init(text: text, position: item.position))
        }
        if !rules.mayRepeat { refuseRepeated(list) }
        values.set(path, .list(list), at: pair.keyPosition)
    }

    private mutating func refuseRepeated(_ list: [DocumentValue.Item]) {
        var seen: Set<String> = []
        for item in list where !seen.insert(item.text).inserted {
            findings.error(
                "duplicate-item", at: item.position, "\(quoted(item.text)) is in the list twice",
                advice: "keep one of them")
        }
    }

    mutating func labels(
        _ pair: DocumentTree.Pair, _ key: DocumentKey, _ maximum: Int, _ path: String,
        into values: inout DocumentValues
    ) {
        guard case .mapping(let pairs) = pair.value.content else {
            findings.error(
                "type", at: pair.value.position, "expected labels, not \(pair.value.kind)",
                advice: "write `label: value` lines below `\(key.name)`")
            return
        }
        guard !isTooLong(pair, key, pairs.count, maximum, "labels") else { return }
        var labels: [String: String] = [:]
        for label in pairs {
            guard let name = accept(key.kind.readName(label.key), at: label.keyPosition),
                case .text(let value) = scalar(label.value, .name)
            else { continue }
            labels[name] = value
        }
        values.set(path, .labels(labels), at: pair.keyPosition)
    }
}
