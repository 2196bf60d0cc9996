// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
public import UpgradePlan

/// All that is to be known of one kind of step: its stored word, whom it names, what it asks of a node, how a status is judged,
/// how long it may take, and what undoes it. One file each; the itinerary lists them.
///
/// A definition remembers nothing. What it answers, it answers about a run as that is now, so that a node that joins, returns
/// or is quarantined while the step is under way is named, asked and judged like any other.
public protocol StepDefinition: Sendable {
    /// The stored word, such as `nodes:braced`. What has been stored is read for ever.
    static var word: String { get }
    /// Whether there are several of the kind, told apart by an index.
    static var isCounted: Bool { get }
    /// Whether there is one for each database of a plan, told apart by an index where it has several.
    static var isOfEachDatabase: Bool { get }
    /// Whether nodes or the database may be other than before once it has begun.
    static var touches: Bool { get }
    /// Whether application writes may happen on the new schema once it has begun on the way forward: then nothing is undone. Of a
    /// task, once it has been started and may have taken effect.
    static var endsWayBack: Bool { get }
    /// Whether nodes have to say anew that they are what it asks, when a run goes forward again after all.
    static var isSaidAnew: Bool { get }

    init(_ phase: Phase, index: Int?)
    /// The steps of this kind at its place in the itinerary of a plan.
    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition]

    /// The phase that it belongs to; on the way back, the phase that is undone.
    var phase: Phase { get }
    var step: Step { get }
    /// What it does, for people.
    var title: String { get }
    /// The same where the plan is known.
    func title(in plan: Plan) -> String
    /// What it means in one plan, for people.
    func details(_ preview: StepPreview) -> [String]

    // MARK: Nodes

    /// Whether it waits for a node, now.
    func names(_ seat: Seat, in run: Run) -> Bool
    /// All nodes that it waits for when it begins.
    func named(in run: Run) -> [NodeName]
    /// Whether there is nobody left to act on. An empty set of nodes is an error, never "all"; a batch may be empty, because its
    /// nodes are quarantined and not forgotten.
    func lacksNodes(in run: Run) -> Bool
    /// What it asks of a node from its beginning on. Later steps may ask otherwise: theirs counts.
    func ask(_ directive: inout Directive, of seat: Seat, in run: Run)
    /// What it still asks on the way back, until the step that undoes it asks otherwise.
    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run)
    /// Whose directive may be another one when it begins on the way forward; on the way back, every node is told how far it is.
    var audience: Audience { get }
    /// The same in one run.
    func audience(in run: Run) -> Audience
    /// Whether what it asks is asked no longer than it is the current step.
    static var asksWhileCurrent: Bool { get }
    /// Whether a node is what is asked, by a status observed under its present directive.
    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict
    /// What is kept of the status of a node that has reached it.
    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent]
    /// Whether the schema's change, or the lift, relies on every node having said so: no failure budget makes up for one.
    var isProof: Bool { get }
    /// Whether the run may go on without a node that fails it, within the failure budget.
    func quarantines(in run: Run) -> Bool
    /// Whether a failure is told, and the node serves on.
    var isTidying: Bool { get }
    /// Whether what is left when its time is over is left to the census, if the plan ends stragglers.
    var isCutShort: Bool { get }
    /// Whether all nodes that fail are named together, so that they can be put right together.
    var tellsAllFailures: Bool { get }
    /// What to do about nodes that fail it, where that can be said.
    func advice(on statuses: [NodeName: NodeStatus], in run: Run) -> String?

    // MARK: Everything else

    /// The database task that it asks for, once every node that it names has reached it.
    var task: DatabaseTask.Kind? { get }
    /// How many databases are asked for it at once: the tasks of those whose turn has not come are done beside that of the current
    /// step.
    func atOnce(in plan: Plan) -> Int
    /// What follows instead of the next step, once the task has ended well.
    func followUp(in run: Run) -> [RunEvent]
    /// The label of the database that the task is for; `nil` where the plan has one, and without a task.
    func database(in plan: Plan) -> DatabaseName?
    /// How long it may take; `nil`: as long as it likes.
    func allowance(in run: Run) -> Span?
    /// What follows when that time is over and it still waits for nodes; `nil`: they have failed it.
    func overdue(_ pending: [NodeName], after span: Span, in run: Run) -> [RunEvent]?
    /// How long it waits when nothing else is to be done; `nil`: it does not end by time.
    func wait(in run: Run) -> Span?
    /// Whether what is neither a node's nor the database's matter is so.
    func isSatisfied(in run: Run) -> Bool
    /// Why it may not begin although the step before is complete: a person is asked.
    func objection(seeing observations: Observations, at now: Instant, in run: Run) -> Objection?
    /// Where a person's `retry` begins again.
    func stepToRetry(in run: Run) -> Step
    /// The steps that undo it, in their order; it has begun, and perhaps not ended.
    func undo(_ undoing: Undoing) -> [any StepDefinition]
}

/// A node as a step sees it.
public struct Seat: Sendable {
    public let node: NodeName
    public let member: Run.Member

    var isQuarantined: Bool { member.quarantine != nil }
    /// A person has vouched for it: nothing of it serves, so nothing has to be proved of it.
    var isOff: Bool { member.isOff }
}

/// What a status says about a step.
public enum Verdict: Hashable, Sendable {
    case notYet
    case reached
    case failed(String)
    /// It can never be what is asked, and no failure budget makes up for it.
    case unfit(String)

    static func reached(if isSo: Bool) -> Verdict { isSo ? .reached : .notYet }
}

/// Whose directive may be another one.
public enum Audience: Sendable {
    case nobody
    case named
    case everyMember
}

/// Why a step may not begin.
public struct Objection: Hashable, Sendable {
    public var reason: String
    /// What leads on where the run waits.
    public var advice: String
    /// Whether a person is asked whatever the plan's `on_failure` says.
    public var asks = true
}

/// What the way back is made from.
public struct Undoing: Sendable {
    public let plan: Plan
    /// Every forward step that has begun, whether it ended or not.
    public let begun: Set<Step>
    /// The databases of which preflight has said what the schema was before the run.
    public let schemas: Set<DatabaseName?>
    /// Whether the schema of a database may be another one than before the run.
    public let isSchemaInDoubt: Bool
    /// The databases whose fence an earlier run has left up, for the release that is served since: it stays up.
    public var fencesKept: Set<DatabaseName?> = []

    /// Whether the frozen standby takes the primary's place, so that nothing is undone there: with the schema as it was, going back to
    /// the primary costs nobody anything.
    var isPromoting: Bool {
        plan.frozenStandby != nil && isSchemaInDoubt && hasBegun(FreezeStep.self)
    }

    /// Whether a step of a kind has begun, of whichever database.
    func hasBegun(_ kind: any StepDefinition.Type) -> Bool {
        begun.contains { $0.word == kind.word }
    }
}

/// What a step can say about a plan before it is applied.
public struct StepPreview: Sendable {
    public var plan: Plan
    /// Canary first; empty when nobody knows which nodes the plan selects.
    public var batches: [[NodeName]]
    public var migrations: [PlannedMigration]

    public struct PlannedMigration: Hashable, Sendable {
        public var version: String
        public var phase: MigrationPhase
        public var canBeUndone: Bool
        /// The label of its database; `nil` where the plan has one.
        public var database: DatabaseName?

        public init(
            version: String, phase: MigrationPhase, canBeUndone: Bool,
            database: DatabaseName? = nil
        ) {
            self.database = database
            self.version = version
            self.phase = phase
            self.canBeUndone = canBeUndone
        }
    }

    public init(plan: Plan, batches: [[NodeName]], migrations: [PlannedMigration]) {
        self.plan = plan
        self.batches = batches
        self.migrations = migrations
    }
}

/// What most steps have in common.
extension StepDefinition {
    public static var isCounted: Bool { false }
    public static var isOfEachDatabase: Bool { false }
    public static var touches: Bool { true }
    public static var endsWayBack: Bool { false }
    public static var isSaidAnew: Bool { false }
    public static var asksWhileCurrent: Bool { false }
    public static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        [Self(phase, index: nil)]
    }
    public var step: Step { Step(Self.word, nil) }
    static var step: Step { Step(word, nil) }
    public func title(in plan: Plan) -> String { title }
    public func details(_ preview: StepPreview) -> [String] { [] }
    public func names(_ seat: Seat, in run: Run) -> Bool { !seat.isQuarantined }
    public func named(in run: Run) -> [NodeName] {
        run.members.keys.filter { node in run.seat(of: node).map { names($0, in: run) } ?? false }
            .sorted()
    }
    public func lacksNodes(in run: Run) -> Bool {
        run.direction == .forward && !run.hasParticipants
    }
    public func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {}
    public func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {}
    public var audience: Audience { .everyMember }
    public func audience(in run: Run) -> Audience { audience }
    public var isProof: Bool { false }
    public func quarantines(in run: Run) -> Bool { true }
    public var isTidying: Bool { false }
    public var isCutShort: Bool { false }
    public var tellsAllFailures: Bool { false }
    public func advice(on statuses: [NodeName: NodeStatus], in run: Run) -> String? { nil }
    public func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] { [] }
    public var task: DatabaseTask.Kind? { nil }
    public func atOnce(in plan: Plan) -> Int { 1 }
    public func followUp(in run: Run) -> [RunEvent] { [] }
    public func database(in plan: Plan) -> DatabaseName? { nil }
    public func allowance(in run: Run) -> Span? { run.plan.deadline(of: phase) }
    public func overdue(_ pending: [NodeName], after span: Span, in run: Run) -> [RunEvent]? { nil }
    public func wait(in run: Run) -> Span? { nil }
    public func isSatisfied(in run: Run) -> Bool { true }
    public func objection(seeing observations: Observations, at now: Instant, in run: Run)
        -> Objection?
    { nil }
    public func stepToRetry(in run: Run) -> Step { step }
    public func undo(_ undoing: Undoing) -> [any StepDefinition] { [] }
}

/// A step that waits for no node.
protocol NodelessStep: StepDefinition {}

extension NodelessStep {
    func names(_ seat: Seat, in run: Run) -> Bool { false }
    func named(in run: Run) -> [NodeName] { [] }
    func lacksNodes(in run: Run) -> Bool { false }
    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict { .notYet }
    var audience: Audience { .nobody }
    func quarantines(in run: Run) -> Bool { false }
}
