// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Releases
import UpgradeModel

/// What `sluice-agent adopt` has done, for its reader and for programs.
struct Adopted: Encodable {
    var release: ReleaseReference
    var directory: String
    var socket: String
    var generation: Int64
    var files: Int
    var takenOver: TakenOver?

    /// What came from another tool.
    struct TakenOver: Encodable {
        var tool: String
        var root: String
        /// The release's name there.
        var release: String
        /// Where each path of `application.shared` leads, by path.
        var shared: [String: String]
    }

    /// - Parameter next: what a person does now, in order.
    func text(next: [String]) -> String {
        var lines = ["\(release.name) is current as generation \(generation)"]
        if let takenOver {
            lines.append(
                "from    \(takenOver.root), \(takenOver.release) of \(takenOver.tool): \(files) files copied, nothing there was changed"
            )
        }
        lines += ["files   \(directory)", "socket  \(socket)"]
        for (path, target) in (takenOver?.shared ?? [:]).sorted(by: { $0.key < $1.key }) {
            lines.append("shared  \(path) is \(target)")
        }
        lines.append("next")
        for (index, step) in next.enumerated() { lines.append("  \(index + 1). \(step)") }
        return lines.joined(separator: "\n")
    }
}

extension AgentCommand.Adopt {
    func next(_ adopted: Adopted, _ configuration: AgentConfiguration) -> [String] {
        var steps: [String] = []
        let app = configuration.directories.app
        if versionName == nil {
            if configuration.applicationSocket != nil,
                reasonNotToConnect(to: adopted.socket) != nil
            {
                steps.append(
                    "start it at its socket, where nobody answers yet: this command again, with --action and the action that starts it"
                )
            }
            steps.append(
                "let the proxy ask the gate, connect to \(app)/current/app.sock, and serve files from \(app)/current/files "
                    + "(docs/gate.md)")
            if adopted.takenOver == nil {
                steps.append("end what served it before")
            }
        }
        if let takenOver = adopted.takenOver {
            steps.append(
                "end what \(takenOver.tool) has started, and deploy with it no more: its next deploy would migrate without a gate"
            )
            if !takenOver.shared.isEmpty {
                steps.append(
                    "leave what is shared where it is: \(app)/shared has links there, for this release and all that come"
                )
            }
        }
        steps.append("start the agent: systemctl enable --now sluice-agent")
        steps.append(
            "upgrade with a plan that has `release.expected: \(adopted.release.name)` (docs/plan.md)"
        )
        return steps
    }
}
