// SPDX-License-Identifier: Apache-2.0

import Documents
public import UpgradeModel

extension AgentConfiguration {
    /// Reads the text of an `agent.yaml`: a configuration that cannot be wrong, or everything that is wrong with it.
    ///
    /// - Returns: `nil` when one of the diagnostics is an error.
    public static func read(text: String, file: String) -> (
        configuration: AgentConfiguration?, findings: [Diagnostic]
    ) {
        let document = Document.read(text: text, file: file, rules: AgentKeys.rules)
        guard let values = document.values else { return (nil, document.findings.finished()) }
        var builder = ConfigurationBuilder(values: values, findings: document.findings)
        let configuration = builder.build()
        return (
            builder.findings.hasErrors ? nil : configuration, builder.findings.finished()
        )
    }
}
