// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

/// What has become of the application's own migration tool, in one database.
public struct ToolProgress: Hashable, Sendable {
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

    /// Whether anything is other than before, as far as anybody has looked.
    var isChanged: Bool { change.map { !$0.isNone } ?? false }
}

extension Plan {
    /// The index of each migration tool, in the order in which they run: that of its database, counted from 0; none where one
    /// database alone has a tool.
    var toolIndices: [Int?] {
        let indices = databases.indices.filter { databases[$0].tool != nil }
        return indices.count > 1 ? indices : indices.map { _ in nil }
    }

    /// The database whose tool has an index.
    func toolDatabase(_ index: Int?) -> Database? {
        guard let index else { return toolDatabases.first }
        return databases.indices.contains(index) ? databases[index] : nil
    }

    func tool(_ index: Int?) -> Tool? { toolDatabase(index)?.tool }
    func toolLabel(_ index: Int?) -> DatabaseName? { label(of: toolDatabase(index)) }

    /// The tool of the database with a label.
    func toolIndex(of label: DatabaseName?) -> Int? {
        toolIndices.first { toolLabel($0) == label } ?? nil
    }

    /// Which of several databases a tool is for, for people.
    func suffix(ofTool index: Int?) -> String {
        index.flatMap { toolDatabase($0) }.map { " (\($0.name))" } ?? ""
    }

    /// A tool by its database's name where there are several, for people.
    func name(ofTool index: Int?) -> String {
        "the migration tool" + (index.flatMap { toolDatabase($0) }.map { " of \($0.name)" } ?? "")
    }
}

extension Run {
    func tool(_ index: Int?) -> ToolProgress { tools[plan.toolLabel(index)] ?? ToolProgress() }

    /// The run of a tool in the window that is under way, or comes next.
    func toolTask(_ index: Int?) -> NodeTask? {
        plan.tool(index).map { wanted in
            runOfTool(
                wanted.action, at: ToolStep(.migrate, index: index),
                number: max(1, tool(index)[.switch].runs), ToolRun())
        }
    }

    /// The same of what undoes; `nil` where nothing does.
    func toolRevertTask(_ index: Int?) -> NodeTask? {
        guard let action = plan.tool(index)?.revert else { return nil }
        let work = tool(index)[.switch]
        return runOfTool(
            action, at: RevertToolStep(.migrate, index: index), number: max(1, work.runsBack),
            toolRun(undoing: work, nil))
    }

    /// What the action that undoes is told.
    func toolRun(undoing work: ToolWork, _ unfenced: ToolRun.Unfenced?) -> ToolRun {
        ToolRun(
            ledgerBefore: Run.lines(work.ledger), ledgerAdded: Run.lines(work.change?.added ?? []),
            unfenced: unfenced)
    }

    func runOfTool(
        _ action: ActionName, at step: some EachToolStep, number: Int, _ told: ToolRun
    ) -> NodeTask {
        let stepPart = step.step.description.split(separator: ":").joined(separator: ".")
        var told = told
        told.database = plan.toolDatabase(step.index)?.name
        return NodeTask(
            identity: TaskIdentity(rawValue: "\(identifier)/\(stepPart)/tool/\(action)/\(number)"),
            kind: .action, name: action.rawValue,
            timing: told.unfenced == nil ? .beforeActivation : .afterActivation,
            release: created.release, tool: told)
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

    /// Counts the runs: each has a pass of its own.
    mutating func noteTool(_ definition: any StepDefinition) {
        guard let step = definition as? any EachToolStep else { return }
        var progress = tool(step.index)
        switch definition {
        case is OpenPassStep: progress[.switch].runs += 1
        case is OpenRevertPassStep: progress[.switch].runsBack += 1
        case is ExpandWithStep: progress[.expand].runs += 1
        case is RevertExpandWithStep: progress[.expand].runsBack += 1
        case is ContractWithStep: progress[.contract].runs += 1
        case is PreviewToolStep: progress.previews += 1
        default: return
        }
        progress.ended = nil
        tools[plan.toolLabel(step.index)] = progress
    }

    /// What a tool's node says. Journals of plans with one tool do not say whose it is.
    mutating func noteTool(_ ended: ToolEnded) {
        let label = ended.database ?? databaseAtWork
        tools[label, default: ToolProgress()].ended = ended
        if let preview = ended.preview { tools[label]?.preview = preview }
    }

    /// What the database says of its tool.
    mutating func noteTool(_ ended: DatabaseTaskEnded) {
        guard plan.database(labeled: ended.database)?.tool != nil else { return }
        var progress = tools[ended.database] ?? ToolProgress()
        switch ended.kind {
        case .openPass where progress[.switch].runs == 1: progress[.switch].ledger = ended.ledger
        case .expand: progress[.expand].ledger = ended.ledger
        case .contract: progress[.contract].ledger = ended.ledger
        case .closePass, .settlePass, .closeRevertPass: progress[.switch].change = ended.change
        case .judgeExpand, .settleExpand, .judgeRevertExpand:
            progress[.expand].change = ended.change
        case .judgeContract: progress[.contract].change = ended.change
        case .readPreview: progress.previewed = ended.report?.lines.first
        default: return
        }
        tools[ended.database] = progress
    }

    /// How the run of a tool ended; `nil` while it has not.
    static func ending(
        of task: NodeTask?, in status: NodeStatus, _ label: DatabaseName?
    ) -> ToolEnded? {
        guard let task, let outcome = status.tasks.first(where: { $0.identity == task.identity }),
            outcome.state != .running
        else { return nil }
        return ToolEnded(
            task: task.identity, state: outcome.state, output: outcome.output,
            duration: outcome.duration, preview: outcome.preview, database: label)
    }

    /// What the last run of a tool said, for people.
    func toolTrouble(_ index: Int?) -> String {
        guard let ended = tool(index).ended else { return "it was not run" }
        let said = ended.lastWords
        return switch ended.state {
        case .done, .running: "it ended well"
        case .failed: "it failed: \(said)"
        case .notStarted: "it was not started: \(said)"
        case .unknown: "it was interrupted: \(said)"
        }
    }

    /// The tools that have changed what nothing changes back: turning back by itself would end nowhere.
    private var toolsInTheWay: [Int?] {
        // A frozen standby is the way back whatever a tool has done.
        guard plan.frozenStandby == nil else { return [] }
        return plan.toolIndices.filter {
            plan.tool($0)?.revert == nil && tool($0)[.switch].isChanged
        }
    }

    var isWayBackBlocked: Bool { !toolsInTheWay.isEmpty || isWayBackLost }

    /// What a person has to know about a run that does not turn back by itself.
    var blockedAdvice: String {
        if isWayBackLost { return adviceWithoutWayBack }
        let names = toolsInTheWay.map { plan.name(ofTool: $0) }.joined(separator: " and ")
        let has = toolsInTheWay.count > 1 ? "have" : "has"
        return
            "\(names) \(has) changed the database, and the plan names no `revert_with`: put right what failed, then `sluice retry \(identifier)`; "
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
