// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

/// What has become of the application's own migration tool.
public struct ToolProgress: Hashable, Sendable {
    /// The last pass that a node has made, and which node.
    public var offer: PassOffered?
    /// How the last run ended, by what its node says.
    public var ended: ToolEnded?
    /// How often it was asked what it would do, and what it said.
    public var previews = 0
    public var preview: String?
    /// The same in one line, once it was read.
    public var previewed: String?
    private var work: [MigrationPhase: ToolWork] = [:]

    /// What has become of it before the window, in it and after the lift.
    public subscript(timing: MigrationPhase) -> ToolWork {
        get { work[timing] ?? ToolWork() }
        set { work[timing] = newValue }
    }
}

/// What a migration tool has done in one of its moments.
public struct ToolWork: Hashable, Sendable {
    /// How often it has begun, and on the way back the action that undoes.
    public var runs = 0
    public var runsBack = 0
    /// Where its ledger stood before it ran.
    public var ledger: [String] = []
    /// What is other than before, by what the database says; `nil` before anybody has looked.
    public var change: ToolChange?
}

extension Run {
    /// The run of the tool in the window that is under way, or comes next.
    var toolTask: NodeTask? {
        plan.tool.map { tool in
            runOfTool(
                tool.action, at: ToolStep.step, number: max(1, self.tool[.switch].runs), ToolRun())
        }
    }

    /// The same of what undoes; `nil` where nothing does.
    var toolRevertTask: NodeTask? {
        guard let action = plan.tool?.revert else { return nil }
        let work = tool[.switch]
        return runOfTool(
            action, at: RevertToolStep.step, number: max(1, work.runsBack),
            toolRun(undoing: work, nil))
    }

    /// What the action that undoes is told.
    func toolRun(undoing work: ToolWork, _ unfenced: ToolRun.Unfenced?) -> ToolRun {
        ToolRun(
            ledgerBefore: Run.lines(work.ledger), ledgerAdded: Run.lines(work.change?.added ?? []),
            unfenced: unfenced)
    }

    func runOfTool(
        _ action: ActionName, at step: Step, number: Int, _ toolRun: ToolRun
    ) -> NodeTask {
        let stepPart = step.description.split(separator: ":").joined(separator: ".")
        return NodeTask(
            identity: TaskIdentity(rawValue: "\(identifier)/\(stepPart)/tool/\(action)/\(number)"),
            kind: .action, name: action.rawValue,
            timing: toolRun.unfenced == nil ? .beforeActivation : .afterActivation,
            release: created.release, tool: toolRun)
    }

    /// The last entries that fit into an environment variable of a task.
    private static func lines(_ entries: [String]) -> String {
        var size = 0
        let last = entries.reversed().prefix { entry in
            size += entry.utf8.count + 1
            return size <= 8000
        }
        return last.reversed().joined(separator: "\n")
    }

    /// The pass that a tool's node is asked to make.
    func passGoal(for task: NodeTask?) -> PassGoal? {
        guard let task, let tool = plan.tool else { return nil }
        let actions = direction == .forward ? tool.actions : []
        return PassGoal(task: task.identity, actions: actions)
    }

    /// The digest that a node has said for this run of a tool, and for no other.
    func pass(for task: NodeTask?) -> PassOffer? {
        guard let offer = tool.offer, offer.pass.task == task?.identity,
            isParticipant(offer.node)
        else { return nil }
        return offer.pass
    }

    /// Where a tool runs: where its pass was made; else on the node that the plan names, or the first one of the canary's batch
    /// that takes part.
    func toolNode(for task: NodeTask?) -> NodeName? {
        guard let wanted = plan.tool else { return nil }
        if let offer = tool.offer, pass(for: task) != nil { return offer.node }
        if let node = wanted.node { return isParticipant(node) ? node : nil }
        return batches.first?.sorted().first(where: isParticipant) ?? participants.first
    }

    var toolNode: NodeName? { toolNode(for: toolTask) }

    /// Counts the runs: each has a pass of its own.
    mutating func noteTool(_ definition: any StepDefinition) {
        switch definition {
        case is OpenPassStep: tool[.switch].runs += 1
        case is OpenRevertPassStep: tool[.switch].runsBack += 1
        case is ExpandWithStep: tool[.expand].runs += 1
        case is RevertExpandWithStep: tool[.expand].runsBack += 1
        case is ContractWithStep: tool[.contract].runs += 1
        case is PreviewToolStep: tool.previews += 1
        default: return
        }
        tool.ended = nil
    }

    /// What the database says of the tool.
    mutating func noteTool(_ ended: DatabaseTaskEnded) {
        guard ended.database == plan.label(of: plan.toolDatabase) else { return }
        switch ended.kind {
        case .openPass where tool[.switch].runs == 1: tool[.switch].ledger = ended.ledger
        case .expand: tool[.expand].ledger = ended.ledger
        case .contract: tool[.contract].ledger = ended.ledger
        case .closePass, .settlePass, .closeRevertPass: tool[.switch].change = ended.change
        case .judgeExpand, .settleExpand, .judgeRevertExpand: tool[.expand].change = ended.change
        case .judgeContract: tool[.contract].change = ended.change
        case .readPreview: tool.previewed = ended.report?.lines.first
        default: break
        }
    }

    /// How the run of a tool ended; `nil` while it has not.
    static func ending(of task: NodeTask?, in status: NodeStatus) -> ToolEnded? {
        guard let task, let outcome = status.tasks.first(where: { $0.identity == task.identity }),
            outcome.state != .running
        else { return nil }
        return ToolEnded(
            task: task.identity, state: outcome.state, output: outcome.output,
            duration: outcome.duration, preview: outcome.preview)
    }

    /// The tool's time is over: it is told to end, and the database says what it has done.
    func toolOverdue(_ task: NodeTask?, on pending: [NodeName], after span: Span) -> [RunEvent] {
        guard let task else { return [] }
        let ended = ToolEnded(
            task: task.identity, state: .unknown, output: "it did not end within \(span)")
        return [.toolEnded(ended)] + pending.map { .nodeReached(NodeFact(node: $0)) }
    }

    /// What the tool's last run said, for people.
    var toolTrouble: String {
        guard let ended = tool.ended else { return "it was not run" }
        let said = ended.lastWords
        return switch ended.state {
        case .done, .running: "it ended well"
        case .failed: "it failed: \(said)"
        case .notStarted: "it was not started: \(said)"
        case .unknown: "it was interrupted: \(said)"
        }
    }

    /// Whether the tool has changed what nothing changes back: turning back by itself would end nowhere.
    var isWayBackBlocked: Bool {
        // A frozen standby is the way back whatever a tool has done.
        guard plan.frozenStandby == nil, let wanted = plan.tool, wanted.revert == nil else {
            return false
        }
        return tool[.switch].change.map { !$0.isNone } ?? false
    }

    /// What a person has to know about a run that does not turn back by itself.
    var blockedAdvice: String {
        "the migration tool has changed the database, and the plan names no `revert_with`: put right what failed, then `sluice retry \(identifier)`; "
            + "`sluice rollback \(identifier)` waits until the database has been put back by hand"
    }
}

extension DatabaseTaskEnded {
    fileprivate var ledger: [String] { report?.ledger ?? [] }
    /// Whoever cannot say what has become of a tool has not found the database unchanged.
    fileprivate var change: ToolChange {
        report?.change ?? ToolChange(isSchemaChanged: true, added: [], removed: [])
    }
}

extension ToolEnded {
    /// The end of its output, on one line.
    var lastWords: String {
        let lines = output.split(separator: "\n").suffix(4)
        return lines.isEmpty ? "it said nothing" : lines.joined(separator: " | ")
    }
}

extension ToolChange {
    /// What is other than before, for people.
    var sentence: String {
        var parts: [String] = []
        if !added.isEmpty {
            parts.append("new in its ledger: \(Listed.text(added, separator: ", "))")
        }
        if !removed.isEmpty {
            parts.append("gone from its ledger: \(Listed.text(removed, separator: ", "))")
        }
        if isSchemaChanged { parts.append("the schema is another") }
        return parts.isEmpty ? "nothing is other than before it ran" : parts.joined(separator: "; ")
    }
}
