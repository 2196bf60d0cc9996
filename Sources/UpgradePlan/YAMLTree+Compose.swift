// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import Yams

extension YAMLTree {
    /// Reads the one document of a text; `nil` and at least one finding when there is none.
    ///
    /// The library stops at the first key that is given twice. So that the rest is read too, that key is
    /// renamed in a copy of the text (one character, same length) and gets its name back in the tree.
    static func compose(_ source: SourceText, findings: inout Findings) -> YAMLTree? {
        var composer = Composer(source: source, findings: findings)
        defer { findings = composer.findings }
        return composer.compose()
    }
}

private struct Composer {
    private static let maximumRenames = 20
    /// Each renaming composes the text again; a longer one shows its first double key alone.
    private static let maximumRenamedBytes = 65_536

    let source: SourceText
    /// The source's text, but for keys that are renamed.
    var text: String
    var findings: Findings
    private var renamed: [Diagnostic.Place: Unicode.Scalar] = [:]

    init(source: SourceText, findings: Findings) {
        self.source = source
        text = source.text
        self.findings = findings
    }

    mutating func compose() -> YAMLTree? {
        do {
            while true {
                do {
                    // Nodes refer to their anchors weakly: the parser must live until they are read.
                    let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
                    return try withExtendedLifetime(parser) {
                        guard let root = try parser.singleRoot() else {
                            findings.error(
                                "empty", at: findings.place(line: 1, column: 1),
                                "the plan is empty", advice: "begin from `plans/minimal.yaml`")
                            return nil
                        }
                        return tree(root, depth: 1)
                    }
                } catch YamlError.duplicatedKeysInMapping(let keys, let context)
                    where renamed.count < Composer.maximumRenames
                    && rename(keys.first ?? "", at: context.mark)
                {
                    continue
                }
            }
        } catch {
            report(error)
            return nil
        }
    }

    // MARK: Nodes

    private mutating func tree(_ node: Node, depth: Int) -> YAMLTree {
        let place = place(of: node.mark)
        let refused = YAMLTree(content: .refused, place: place)
        if node.anchor != nil {
            findings.refuseAlias(at: place)
            return refused
        }
        guard depth <= YAMLTree.maximumDepth else {
            findings.error(
                "too-deep", at: place, "the plan nests more than \(YAMLTree.maximumDepth) levels",
                advice: "write it flatter; `plans/reference.yaml` shows every key")
            return refused
        }
        // The library does not tell `!!str "x"` from `"x"`; the text does.
        guard source.scalar(at: place) != "!" else {
            findings.error(
                "tag", at: place, "tags (`!` before a value) are not read",
                advice: "write the value alone; every key of a plan has one type")
            return refused
        }
        switch node {
        case .scalar(let scalar):
            return YAMLTree(
                content: .scalar(scalar.string, isQuoted: scalar.style != .plain), place: place)
        case .sequence(let sequence):
            var items: [YAMLTree] = []
            for item in sequence { items.append(tree(item, depth: depth + 1)) }
            return YAMLTree(content: .sequence(items), place: place)
        case .mapping(let mapping):
            return YAMLTree(content: .mapping(pairs(mapping, depth: depth)), place: place)
        case .alias:
            findings.refuseAlias(at: place)
            return refused
        }
    }

    private mutating func pairs(_ mapping: Node.Mapping, depth: Int) -> [YAMLTree.Pair] {
        var pairs: [YAMLTree.Pair] = []
        for (key, value) in mapping {
            let keyTree = tree(key, depth: depth + 1)
            let value = tree(value, depth: depth + 1)
            switch keyTree.content {
            case .scalar(let name, let isQuoted):
                var place = keyTree.place
                if isQuoted { place.column += 1 }
                pairs.append(
                    .init(key: original(name, at: place), keyPlace: keyTree.place, value: value))
            case .sequence, .mapping:
                findings.error(
                    "complex-key", at: keyTree.place, "a key must be a single word",
                    advice: "write `key: value`")
            case .refused: break
            }
        }
        return pairs
    }

    private func place(of mark: Mark?) -> Diagnostic.Place {
        findings.place(line: mark?.line ?? 1, column: mark?.column ?? 1)
    }

    // MARK: Keys that are given twice

    /// Gives the key at a mark a name of its own, from Unicode's private use area.
    ///
    /// - Returns: `false` when the text there is not simply the key.
    private mutating func rename(_ key: String, at mark: Mark) -> Bool {
        guard let first = key.unicodeScalars.first,
            text.utf8.count <= Composer.maximumRenamedBytes
        else { return false }
        var scalars = text.unicodeScalars
        guard var index = index(of: mark, in: scalars) else { return false }
        var place = place(of: mark)
        if scalars[index] == "\"" || scalars[index] == "'" {
            scalars.formIndex(after: &index)
            place.column += 1
        }
        guard scalars[index...].starts(with: key.unicodeScalars),
            let replacement = Unicode.Scalar(0xE000 + UInt32(renamed.count))
        else { return false }
        scalars.replaceSubrange(index...index, with: [replacement])
        text = String(scalars)
        renamed[place] = first
        return true
    }

    private func original(_ name: String, at place: Diagnostic.Place) -> String {
        guard let first = renamed[place] else { return name }
        return String(first) + String(name.unicodeScalars.dropFirst())
    }

    private func index(
        of mark: Mark, in scalars: String.UnicodeScalarView
    ) -> String.UnicodeScalarView.Index? {
        var line = 1
        var index = scalars.startIndex
        var previous: Unicode.Scalar = " "
        while line < mark.line {
            guard index < scalars.endIndex else { return nil }
            let scalar = scalars[index]
            scalars.formIndex(after: &index)
            switch scalar {
            case "\n" where previous == "\r": break
            case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": line += 1
            default: break
            }
            previous = scalar
        }
        if previous == "\r", index < scalars.endIndex, scalars[index] == "\n" {
            scalars.formIndex(after: &index)
        }
        guard
            let found = scalars.index(
                index, offsetBy: mark.column - 1, limitedBy: scalars.endIndex),
            found < scalars.endIndex
        else { return nil }
        return found
    }

    // MARK: Errors of the library

    private mutating func report(_ error: any Error) {
        let nothingElse = "; nothing else has been checked yet"
        switch error {
        case YamlError.scanner(_, let problem, let mark, _),
            YamlError.parser(_, let problem, let mark, _),
            YamlError.composer(_, let problem, let mark, _):
            let place = place(of: mark)
            if problem == "found undefined alias" {
                findings.refuseAlias(at: place)
            } else if problem == "but found another document" {
                findings.error(
                    "second-document", at: place, "a second document begins here",
                    advice: "a file holds one plan: remove what follows `---`")
            } else {
                findings.error(
                    "yaml", at: place, "not valid YAML: \(problem)",
                    advice: advice(for: problem, at: place) + nothingElse)
            }
        case YamlError.duplicatedKeysInMapping(let keys, let context):
            findings.error(
                "duplicate-key", at: place(of: context.mark),
                "\(quoted(keys.first ?? "")) is given more than once in its section",
                advice: "keep one of them" + nothingElse)
        case YamlError.memory:
            findings.error(
                "too-deep", at: findings.place(line: 1, column: 1),
                "the plan nests too deeply to be read",
                advice: "write it flatter; `plans/reference.yaml` shows every key")
        default:
            findings.error(
                "yaml", at: findings.place(line: 1, column: 1), "not valid YAML",
                advice: "compare it with `plans/reference.yaml`")
        }
    }

    private func advice(for problem: String, at place: Diagnostic.Place) -> String {
        if source.scalar(at: place) == "\t" { return "indent with spaces: a tab stands here" }
        if problem.contains("mapping values") {
            return "put a value that contains `: ` in quotes, and check the indentation"
        }
        if problem.contains("cannot start any token") {
            return "put a value that begins with a sign such as `@`, `%` or a backtick in quotes"
        }
        if problem.contains("expected ',' or") {
            return "close the list or section that was opened with `[` or `{`"
        }
        if problem.contains("end of stream") {
            return "close the quotes that were opened"
        }
        return "check the indentation, and the quotes and brackets before this place"
    }
}
