// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Files
import UpgradeModel

extension AgentConfiguration {
    /// Who else could change what this agent runs: its configuration, its actions' programs and the directories above them, each with
    /// the command that mends it. Empty when nobody can.
    ///
    /// What root runs has to be root's. An action that runs as a user may also be that user's own.
    var trustProblems: [String] {
        var problems: [String] = []
        note(file, [], &problems)
        for (name, action) in actions.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            let owners = Set(action.user.map { [$0.user] } ?? [])
            for command in [action.command, action.probe ?? []] {
                guard case .text(let program)? = command.first else { continue }
                var found: [String] = []
                note(program, owners, &found)
                problems += found.map { "`actions.\(name)`: \($0)" }
            }
        }
        return problems
    }

    /// Who else could put other files in the place of releases, while an agent of root works among them. A warning, since what runs here
    /// runs as its action's user.
    var directoryTrustProblem: String? {
        // One that is not there yet, the agent makes itself.
        let app = directories.app
        guard let problem = (try? trustProblem(with: app)) ?? nil else { return nil }
        return
            "\(problem): whoever writes there decides what \(app)/current leads to; what the application writes belongs beneath "
            + "\(app)/shared"
    }

    private func note(_ path: String, _ owners: Set<UInt32>, _ problems: inout [String]) {
        // A program that is not there yet fails when it is run, with its own words.
        guard path.hasPrefix("/"),
            let problem = (try? trustProblem(with: path, ownersBesides: owners)) ?? nil
        else { return }
        problems.append(problem)
    }
}
