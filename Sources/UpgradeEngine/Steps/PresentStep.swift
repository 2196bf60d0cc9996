// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Every node reports, is on the expected release, and its gate is open and asked by the proxy.
struct PresentStep: StepDefinition {
    static let word = "nodes:present"
    static let touches = false
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "hear from every node" }

    func details(_ preview: StepPreview) -> [String] {
        preview.plan.release.expected.map { ["every node serves \($0), its gate open"] } ?? [
            "every gate open"
        ]
    }

    /// Whoever puts one node right only to hear of the next has to begin as many runs as there are nodes.
    let tellsAllFailures = true

    /// The first pass of a migration tool is made now, and stays made.
    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard let tool = run.firstTool(on: seat.node), !run.begun.contains(tool.step) else {
            return
        }
        directive.pass = run.passGoal(for: tool.task(in: run), on: seat.node)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        if let reason = status.breakGlass {
            return .failed(
                "its gate was opened by hand (\(reason)); end that with `sluice-agent break-glass end`"
            )
        }
        if let expected = run.plan.release.expected, status.active?.release.name != expected {
            return .failed(Drift.reason(found: status.active?.release.name, expected: expected))
        }
        if let reason = SilenceStep.refusal(status, in: run) { return .unfit(reason) }
        if let reason = run.missingAbility(of: status) { return .unfit(reason) }
        if let reason = run.standbyRefusal(status) { return .unfit(reason) }
        // A proxy that passes the gate by does so in the window as well.
        if let failure = status.gate.disproof { return .unfit(failure) }
        guard status.gate.writes == .open && status.gate.isProved else { return .notYet }
        if let reason = HoldSessionsStep.refusal(status, in: run) { return .unfit(reason) }
        guard let tool = run.firstTool(on: seat.node) else { return .reached }
        return Verdict.onPass(tool.task(in: run), status, of: seat, in: run)
    }

    /// What the node was before the run touched it.
    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        [
            .nodeSurveyed(
                NodeSurveyed(
                    node: seat.node, active: status.active, agentVersion: status.agentVersion,
                    warnings: run.warnings(status), addresses: status.addresses))
        ] + run.offered(status, for: run.firstTool(on: seat.node)?.task(in: run), by: seat.node)
    }

    func advice(on statuses: [NodeName: NodeStatus], in run: Run) -> String? {
        guard let expected = run.plan.release.expected else { return nil }
        let found = statuses.mapValues { $0.active?.release.name }.filter { $0.value != expected }
        return found.isEmpty ? nil : Drift(found: found, expected: expected).advice
    }
}

extension Run {
    /// What the plan needs and an agent cannot do.
    func missingAbility(of status: NodeStatus) -> String? {
        let isRunTwice = plan.frozenStandby != nil && !isDatabaseSwitched
        let needs: [(ability: AgentAbility, isNeeded: Bool)] = [
            (.asksOwnSocket, plan.startsAfterMigration || isRunTwice),
            (.servesFromStandby, isRunTwice),
            (.switchesDatabases, isDatabaseSwitched),
            (.switchesVersions, plan.release.version != nil),
            (.runsToolsUnfenced, plan.toolDatabases.contains { $0.tool?.runsUnfenced == true }),
            (.tellsToolsTheirDatabase, plan.toolDatabases.count > 1),
            (.tellsActionsTheirDatabase, plan.databases.contains { $0.leaveOut != nil }),
        ]
        let lacking = needs.first { $0.isNeeded && !status.has($0.ability) }?.ability
        return lacking.map {
            "its agent (\(status.agentVersion)) cannot \($0.phrase); \($0.advice)"
        }
    }
}

extension Step {
    public static let present = PresentStep.step
}
