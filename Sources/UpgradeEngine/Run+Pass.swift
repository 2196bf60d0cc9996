// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Where a migration tool runs, and the pass that its node makes for it. Each run of each tool has a pass of its own, which opens the
/// fence of its database and no other.
extension Run {
    /// The digest that a node has said for this run of a tool, and for no other.
    func pass(for task: NodeTask?) -> PassOffer? {
        guard let task, let offer = passes[task.identity], isParticipant(offer.node) else {
            return nil
        }
        return offer.pass
    }

    /// Where a tool runs: where its pass was made; else on the node that the plan names, or the first one of the canary's batch
    /// that takes part.
    func toolNode(for task: NodeTask?, of index: Int?) -> NodeName? {
        guard let wanted = plan.tool(index) else { return nil }
        if let task, let offer = passes[task.identity], isParticipant(offer.node) {
            return offer.node
        }
        if let node = wanted.node { return isParticipant(node) ? node : nil }
        return batches.first?.sorted().first(where: isParticipant) ?? participants.first
    }

    func toolNode(_ index: Int?) -> NodeName? { toolNode(for: toolTask(index), of: index) }

    /// The pass that the node of a tool is asked to make. On the way forward it also says whether it may run all that the plan has for
    /// it, of whichever tool.
    func passGoal(for task: NodeTask?, on node: NodeName) -> PassGoal? {
        guard let task else { return nil }
        guard direction == .forward else { return PassGoal(task: task.identity, actions: []) }
        var actions: [ActionName] = []
        for index in plan.toolIndices where toolNode(index) == node {
            for action in plan.tool(index)?.actions ?? [] where !actions.contains(action) {
                actions.append(action)
            }
        }
        return PassGoal(task: task.identity, actions: actions)
    }

    /// The tool whose pass a node makes in preflight: of several, the first that runs there.
    func firstTool(on node: NodeName) -> ToolStep? {
        plan.toolIndices.first { toolNode($0) == node }.map { ToolStep(.migrate, index: $0) }
    }

    /// The pass that a node has made for a run of a tool, once.
    ///
    /// - Parameter node: where the tool runs.
    func offered(_ status: NodeStatus, for task: NodeTask?, by node: NodeName?) -> [RunEvent] {
        guard let task, let node, let pass = status.pass, pass.task == task.identity,
            pass.digest != nil
        else { return [] }
        let offered = PassOffered(node: node, pass: pass)
        return passes[task.identity] == offered ? [] : [.passOffered(offered)]
    }
}

extension Verdict {
    /// Whether a node has made the pass that it is asked for.
    static func onPass(
        _ task: NodeTask?, _ status: NodeStatus, of seat: Seat, in run: Run
    ) -> Verdict {
        guard let pass = status.pass else {
            return .unfit(
                "its agent (\(status.agentVersion)) cannot let a migration tool through the fence; install the sluice-agent of the coordinator's version"
            )
        }
        guard pass.task == task?.identity else { return .notYet }
        if let problem = pass.problem { return .unfit(problem) }
        return .reached(if: pass.digest != nil)
    }
}
