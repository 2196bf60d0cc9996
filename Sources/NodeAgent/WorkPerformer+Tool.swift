// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Glibc
import UpgradeModel

/// The application's own migration tool: an action whose sessions the fence lets through.
extension WorkPerformer {
    /// The pass for a tool, or why this node can make none.
    func offer(_ goal: PassGoal) -> PassOffer {
        let missing = goal.actions.filter { configuration.actions[$0] == nil }.map { "`\($0)`" }
        let words = missing.joined(separator: " and ")
        return passes.offer(
            goal,
            problem: missing.isEmpty
                ? nil
                : "\(words) \(missing.count == 1 ? "is" : "are") not among the actions of \(configuration.file); declare it there and restart the agent"
        )
    }

    /// Runs the tool, once. Its environment has the pass, or the name by which its sessions are known, and where its ledger stood.
    func run(
        _ action: Action, _ task: NodeTask, _ tool: ToolRun, _ surroundings: Surroundings
    ) async -> TaskOutcome {
        var context = context(task, surroundings)
        do throws(SystemFailure) {
            let options =
                action.environment.contains("PGOPTIONS")
                ? getenv("PGOPTIONS").map { String(cString: $0) } : nil
            if let unfenced = tool.unfenced {
                context.environment = environment(unfenced, surroundings, options: options)
                context.isPreview = unfenced == .preview
            } else {
                context.environment = try passes.environment(of: task.identity, options: options)
                context.secret = try passes.secret(of: task.identity)
            }
        } catch {
            return TaskOutcome(
                identity: task.identity, state: .notStarted,
                output: TaskOutcome.text(
                    "", endingWith: "the secret for the migration tool cannot be made: \(error)"))
        }
        context.environment["SLUICE_LEDGER_BEFORE"] = tool.ledgerBefore
        context.environment["SLUICE_LEDGER_ADDED"] = tool.ledgerAdded
        var outcome = await actions.run(action, context)
        if context.secret != nil, outcome.state == .failed,
            outcome.output.contains(ToolSession.refusal)
        {
            outcome.output = TaskOutcome.text(
                outcome.output, endingWith: WorkPerformer.adviceForTheRefused)
        }
        return outcome
    }

    /// For a tool that has met the fence although it was given the pass.
    private static let adviceForTheRefused =
        "the fence has refused this tool, so its session has not shown the pass: its client does not read PGOPTIONS (agents/migrate/with-pass or relay-pass before the command), a pooler lies between, or it logs in as another role than `migrate_with.role`; docs/migration-tools.md, Which clients send it"

    /// What a tool gets that runs outside the window. Every client of libpq takes its name from there.
    private func environment(
        _ unfenced: ToolRun.Unfenced, _ surroundings: Surroundings, options: String?
    ) -> [String: String] {
        var values: [String: String] = [:]
        if let run = surroundings.run { values["PGAPPNAME"] = ToolSession.name(in: run) }
        if unfenced == .preview {
            values["PGOPTIONS"] = [options, "-c default_transaction_read_only=on"]
                .compactMap { $0 }.joined(separator: " ")
            // For clients that read no environment.
            values["SLUICE_PASS_PARAMETER"] = "options=-c%20default_transaction_read_only%3Don"
        }
        return values
    }
}
