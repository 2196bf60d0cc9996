// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import Yams

extension DocumentTree {
    /// Reads the one document of a text; `nil` and at least one finding when there is none.
    static func compose(
        _ source: SourceText, rules: DocumentRules, findings: inout Findings
    ) -> DocumentTree? {
        var composer = Composer(source: source, rules: rules, findings: findings)
        defer { findings = composer.findings }
        return composer.compose()
    }
}

private struct Composer {
    /// The library stops at a key that is given twice. So that the rest is read too, the later one is reported, taken out of the
    /// text, and the text is composed again: so often at most, and of so many bytes.
    private static let maximumRounds = 20
    private static let maximumRepeatedBytes = 65_536

    let source: SourceText
    let rules: DocumentRules
    var findings: Findings

    init(source: SourceText, rules: DocumentRules, findings: Findings) {
        self.source = source
        self.rules = rules
        self.findings = findings
    }

    mutating func compose() -> DocumentTree? {
        var text = source.text
        var repeated: RepeatedKeys?
        var rounds = 0
        while true {
            do {
                // Nodes refer to their anchors weakly: the parser must live until they are read.
                let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
                return try withExtendedLifetime(parser) {
                    guard let root = try parser.singleRoot() else {
                        findings.error(
                            "empty", at: findings.start, "the \(rules.noun) is empty",
                            advice: rules.beginning)
                        return nil
                    }
                    return tree(root, depth: 1)
                }
            } catch YamlError.duplicatedKeysInMapping(let keys, let context)
                where rounds < Composer.maximumRounds
                && text.utf8.count <= Composer.maximumRepeatedBytes
            {
                rounds += 1
                var lines = repeated ?? RepeatedKeys(source)
                guard let later = lines.removeLater(keys.first ?? "", than: context.mark) else {
                    refuseRepeated(keys, context.mark)
                    return nil
                }
                findings.error(
                    "duplicate-key", at: findings.position(line: later.line, column: later.column),
                    "\(quoted(keys.first ?? "")) is given again; it was first on line"
                        + " \(context.mark.line)",
                    advice: "keep one of them")
                text = lines.text
                repeated = lines
            } catch {
                report(error)
                return nil
            }
        }
    }

    // MARK: Nodes

    private mutating func tree(_ node: Node, depth: Int) -> DocumentTree {
        let position = position(of: node.mark)
        let refused = DocumentTree(content: .refused, position: position)
        if node.anchor != nil {
            findings.refuseAlias(at: position)
            return refused
        }
        guard depth <= DocumentLimits.depth else {
            findings.error(
                "too-deep", at: position,
                "the \(rules.noun) nests more than \(DocumentLimits.depth) levels",
                advice: rules.flatterAdvice)
            return refused
        }
        // The library does not tell `!!str "x"` from `"x"`; the text does.
        guard source.scalar(at: position) != "!" else {
            findings.error(
                "tag", at: position, "tags (`!` before a value) are not read",
                advice: "write the value alone; every key has one type")
            return refused
        }
        switch node {
        case .scalar(let scalar):
            return DocumentTree(
                content: .scalar(scalar.string, isQuoted: scalar.style != .plain),
                position: position)
        case .sequence(let sequence):
            var items: [DocumentTree] = []
            for item in sequence { items.append(tree(item, depth: depth + 1)) }
            return DocumentTree(content: .sequence(items), position: position)
        case .mapping(let mapping):
            return DocumentTree(content: .mapping(pairs(mapping, depth: depth)), position: position)
        case .alias:
            findings.refuseAlias(at: position)
            return refused
        }
    }

    private mutating func pairs(_ mapping: Node.Mapping, depth: Int) -> [DocumentTree.Pair] {
        var pairs: [DocumentTree.Pair] = []
        for (key, value) in mapping {
            let keyTree = tree(key, depth: depth + 1)
            let value = tree(value, depth: depth + 1)
            switch keyTree.content {
            case .scalar(let name, _):
                pairs.append(.init(key: name, keyPosition: keyTree.position, value: value))
            case .sequence, .mapping:
                findings.error(
                    "complex-key", at: keyTree.position, "a key must be a single word",
                    advice: "write `key: value`")
            case .refused: break
            }
        }
        return pairs
    }

    private func position(of mark: Mark?) -> Diagnostic.Position {
        findings.position(line: mark?.line ?? 1, column: mark?.column ?? 1)
    }

    // MARK: Errors of the library

    private static let nothingElse = "; nothing else has been checked yet"

    private mutating func refuseRepeated(_ keys: [String], _ mark: Mark) {
        findings.error(
            "duplicate-key", at: position(of: mark),
            "\(quoted(keys.first ?? "")) is given more than once in its section",
            advice: "keep one of them" + Composer.nothingElse)
    }

    private mutating func report(_ error: any Error) {
        switch error {
        case YamlError.scanner(_, let problem, let mark, _),
            YamlError.parser(_, let problem, let mark, _),
            YamlError.composer(_, let problem, let mark, _):
            let position = position(of: mark)
            if problem == "found undefined alias" {
                findings.refuseAlias(at: position)
            } else if problem == "but found another document" {
                findings.error(
                    "second-document", at: position, "a second document begins here",
                    advice: "a file holds one \(rules.noun): remove what follows `---`")
            } else {
                findings.error(
                    "yaml", at: position, "not valid YAML: \(problem)",
                    advice: advice(for: problem, at: position) + Composer.nothingElse)
            }
        case YamlError.duplicatedKeysInMapping(let keys, let context):
            refuseRepeated(keys, context.mark)
        case YamlError.memory:
            findings.error(
                "too-deep", at: findings.start, "the \(rules.noun) nests too deeply to be read",
                advice: rules.flatterAdvice)
        default:
            findings.error(
                "yaml", at: findings.start, "not valid YAML",
                advice: "compare it with `\(rules.reference)`")
        }
    }

    private func advice(for problem: String, at position: Diagnostic.Position) -> String {
        if source.scalar(at: position) == "\t" { return "indent with spaces: a tab stands here" }
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
