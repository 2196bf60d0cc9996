// SPDX-License-Identifier: Apache-2.0

import Files
import UpgradeModel
import Yams

extension AgentConfiguration {
    /// Reads `agent.yaml`: a configuration that cannot be wrong, or everything that is wrong with it.
    ///
    /// - Returns: `nil` when one of the diagnostics is an error.
    static func read(file: String) -> (configuration: AgentConfiguration?, findings: [Diagnostic]) {
        let findings = ConfigurationFindings(file: file)
        let text: String
        do throws(FileFailure) {
            text = try readTextFile(file, atMost: 1 << 20)
        } catch {
            findings.error(
                "unreadable", at: nil, error.description, advice: "agents/agent.yaml is an example")
            return (nil, findings.list)
        }
        return read(text: text, file: file)
    }

    static func read(text: String, file: String) -> (
        configuration: AgentConfiguration?, findings: [Diagnostic]
    ) {
        let findings = ConfigurationFindings(file: file)
        var configuration: AgentConfiguration?
        do {
            // Nodes refer to their anchors weakly: the parser must live until they are read.
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            try withExtendedLifetime(parser) {
                let root = try parser.singleRoot()
                if root?.mapping == nil {
                    findings.error(
                        "type", at: root?.mark, ConfigurationFindings.noMapping(root),
                        advice: "agents/agent.yaml is an example with every key; `coordinator` and "
                            + "`directories` are required")
                } else if let root, root.hasAnchors(depth: 0) {
                    findings.error(
                        "alias", at: root.mark,
                        "anchors and aliases are not read, nor more than 32 levels",
                        advice: "write the value out where it is needed")
                } else {
                    configuration = ConfigurationBuilder(findings: findings).build(root)
                }
            }
        } catch {
            report(error, findings)
        }
        return (findings.hasErrors ? nil : configuration, findings.sorted)
    }

    private static func report(_ error: any Error, _ findings: ConfigurationFindings) {
        switch error {
        case YamlError.scanner(_, let problem, let mark, _),
            YamlError.parser(_, let problem, let mark, _),
            YamlError.composer(_, let problem, let mark, _):
            findings.error(
                "yaml", at: mark, "not valid YAML: \(problem)",
                advice: "check the indentation, quotes and brackets before this place")
        case YamlError.duplicatedKeysInMapping(let keys, let context):
            findings.error(
                "duplicate-key", at: context.mark, "`\(keys.first ?? "")` is given more than once",
                advice: "keep one of them")
        default:
            findings.error(
                "yaml", at: nil, "not valid YAML", advice: "compare it with agents/agent.yaml")
        }
    }
}

extension Node {
    /// Whether there is an anchor, or a nesting that no configuration has.
    fileprivate func hasAnchors(depth: Int) -> Bool {
        if anchor != nil || depth > 32 { return true }
        switch self {
        case .scalar: return false
        case .alias: return true
        case .sequence(let items): return items.contains { $0.hasAnchors(depth: depth + 1) }
        case .mapping(let pairs):
            return pairs.contains {
                $0.hasAnchors(depth: depth + 1) || $1.hasAnchors(depth: depth + 1)
            }
        }
    }
}
