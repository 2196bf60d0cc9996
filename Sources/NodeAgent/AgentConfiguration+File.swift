// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Files
import UpgradeModel

extension AgentConfiguration {
    /// Reads `agent.yaml` from its file.
    ///
    /// - Returns: `nil` when one of the diagnostics is an error.
    static func read(file: String) -> (configuration: AgentConfiguration?, findings: [Diagnostic]) {
        do throws(FileFailure) {
            return read(text: try readTextFile(file, atMost: 1 << 20), file: file)
        } catch {
            let position = Diagnostic.Position(file: file, line: 1, column: 1)
            let finding = Diagnostic(
                .error, code: "unreadable", at: position, error.description,
                advice: "agents/agent.yaml is an example")
            return (nil, [finding])
        }
    }
}
