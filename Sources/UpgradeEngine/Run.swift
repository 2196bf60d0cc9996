// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
public import UpgradePlan

/// One run of a plan: a value, rebuilt by folding its events.
///
/// It remembers nothing that is in flight. What each node should be (`directive`) and what the databases need (`databaseCommands`)
/// are computed from the facts so far; restarting is folding, then asking again.
public struct Run: Sendable {
    public let created: RunCreated
    public let plan: Plan
    public let createdAt: Instant
    /// The rollout's batches: canary first.
    public let batches: [[NodeName]]

    /// How many events have been applied.
    public internal(set) var version: Int64 = 1
    public internal(set) var standing: Standing = .active
    public internal(set) var direction: Direction = .forward
    /// The steps of the present direction.
    public internal(set) var itinerary: [any StepDefinition]
    /// The current step; `nil` before the first has begun.
    public internal(set) var current: Current?
    /// Every forward step that has begun, whether it ended or not.
    public internal(set) var begun: Set<Step> = []
    /// Every step of the way back that has begun.
    public internal(set) var begunBack: Set<Step> = []
    /// The same in their order, one of each kind: what they ask, one after the other, is what a node should be.
    var asking: [any StepDefinition] = []
    var askingBack: [any StepDefinition] = []
    /// Whether nothing is undone any more, because application writes may have happened on the new schema.
    public internal(set) var isPastPointOfNoReturn = false
    /// Goals that are the same for many nodes. Not a fact of the run: it follows from them.
    var made = MadeGoals()
    /// The nodes that each hook has named: on these it has to be undone.
    var hookTargets: [Int: Set<NodeName>] = [:]
    /// Whether the last statuses may say more than they did, because something else is asked. Not a fact of the run, and not
    /// stored.
    var isUnread = true
    public internal(set) var members: [NodeName: Member]
    public internal(set) var database = DatabaseProgress()
    /// The databases that the run goes on without, and why.
    public internal(set) var leftOut: [DatabaseName: DatabaseLeftOut] = [:]
    /// The databases whose sites were told to close, whatever has become of that.
    var closedSites: Set<DatabaseName> = []
    /// What has become of each migration tool, by the label of its database.
    public internal(set) var tools: [DatabaseName?: ToolProgress] = [:]
    /// The pass of each run of a tool, and which node has made it.
    var passes: [TaskIdentity: PassOffered] = [:]
    public internal(set) var approvals: Set<Phase> = []
    /// How often each step has been tried again at a person's request.
    public internal(set) var retries: [Step: Int] = [:]
    /// Down files that were brought since the run was started.
    var mended: [MigrationReference] = []
    /// What a person says was done by hand, for the next attempt at the current step.
    var claims: [MigrationClaim] = []
    /// The labels of the databases of which a person has said that a schema that is another than before may stay so.
    var acceptedSchemas: Set<DatabaseName?> = []
    /// Whether the way back that has begun is the standby's promotion; `nil` while none of its steps has begun.
    var isPromotionDecided: Bool?
    /// How often the run has gone forward again after it had turned back.
    public internal(set) var turns = 0
    /// How many nodes were in quarantine when the run turned back.
    var quarantinedAtTurn = 0
    /// Identifiers of the requests that were accepted, so that each counts once.
    public internal(set) var requests: Set<String> = []
    /// Why the run turned back or was aborted.
    public internal(set) var reason: String?
    /// What to do about it next, where that can be said.
    public internal(set) var advice: String?
    /// Since when the present leader has led: nobody can have reported to it before. Not a fact of the run, and not stored.
    public internal(set) var ledSince: Instant?
    /// The members that have reached each step that is a proof.
    var proved: [Step: Set<NodeName>] = [:]
    /// How many processes of the old release each node is known to have ended after the lift.
    var seenLate: [NodeName: Int] = [:]
    /// Since when writers are waited for: the drain's budget is one, for nodes, fence and census together.
    public internal(set) var drainBegan: Instant?
    /// When the gates began to close, and when the last one had opened.
    public internal(set) var windowOpened: Instant?
    public internal(set) var windowClosed: Instant?
    public internal(set) var endedAt: Instant?

    /// Whether the run goes on by itself.
    public enum Standing: Hashable, Sendable {
        case active
        /// No new step begins until `resumed`; the current one goes on.
        case paused
        /// Waits for a person: `retry`, `rollback` or `abort`.
        case stopped(Stopped)
        case ended(Ended.Outcome)
    }

    /// The current step and how far it is.
    public struct Current: Equatable, Sendable {
        public var index: Int
        public var definition: any StepDefinition
        public var beganAt: Instant
        /// The nodes that it named when it began.
        public var named: Set<NodeName>
        /// The nodes that have reached it.
        public var reached: Set<NodeName> = []
        /// The nodes that it still waits for: those that it names now, without those that have reached it.
        public var pending: Set<NodeName>
        /// The nodes that failed it, and why.
        public var failed: [NodeName: String] = [:]
        /// For a database step: done.
        public var isDatabaseDone = false

        public var step: Step { definition.step }
        public var phase: Phase { definition.phase }

        public static func == (left: Current, right: Current) -> Bool {
            left.index == right.index && left.step == right.step && left.phase == right.phase
                && left.beganAt == right.beganAt && left.named == right.named
                && left.reached == right.reached
                && left.pending == right.pending && left.failed == right.failed
                && left.isDatabaseDone == right.isDatabaseDone
        }
    }

    /// A node of the run.
    public struct Member: Hashable, Sendable {
        /// What it served before the run touched it.
        public var surveyed: ActiveRelease?
        /// Why it is kept out of service; `nil` while it takes part.
        public var quarantine: String?
        /// Its batch in the rollout; `nil` for one that joined during the run.
        public var batch: Int?
        /// It appeared during the run.
        public var hasJoined: Bool
        /// It has been upgraded by itself; its batch, should it still come, finds that done.
        public var isUpgradedExtra = false
        /// Its own addresses, as it said in preflight.
        public var addresses: [String] = []
        /// The TCP connections of what is frozen there, and ends without having run again.
        public var frozenConnections: [String] = []
        /// A person has said that it is off: nothing of it serves, and it is not waited for until it is heard again.
        public var isOff = false
    }

    /// What the database has been asked and has answered.
    public struct DatabaseProgress: Hashable, Sendable {
        /// What each database is at, by its label.
        public internal(set) var slots: [DatabaseName?: Slot] = [:]
        /// The steps whose task is done and that have not begun: their turn comes.
        var doneEarly: Set<Step> = []
        /// How often each kind has been started, by the label of the database.
        public var attempts: [DatabaseTask.Kind: [DatabaseName?: Int]] = [:]
        /// What has been proved, by the label of the database.
        public var census: [DatabaseName?: CensusProof] = [:]
        /// How many transactions are older than each fence and still under way; none where nobody knows.
        public var older: [DatabaseName?: Int] = [:]
        /// What each schema was before the run.
        public var schema: [DatabaseName?: Digest] = [:]
        /// What of it is not as before, after everything has been undone.
        public var schemaChanges: [DatabaseName?: [String]] = [:]
        /// The run that has left each of them out, with its fence up, as preflight has found.
        public var leftOutBy: [DatabaseName?: RunIdentifier] = [:]
        /// Which database of which server each of them is.
        public var places: [DatabaseName?: String] = [:]
        /// Who could write to each before and in the window.
        public var sessions: [DatabaseName?: WindowSessions] = [:]
        /// Who may be of the old release and was connected after the lift, for people.
        public var lateSessions: [DatabaseName?: [String]] = [:]
        /// What each fence has refused, as it said when it went down.
        public var refused: [DatabaseName?: RefusedTables] = [:]
        /// The labels of the databases whose `switch` migrations have taken effect, or may have, and are not known to be undone.
        public var migrated: Set<DatabaseName?> = []
        /// Whether the standby has taken the primary's place, and what the task that did it has said.
        public var promotion = Promotion.none
        public var promotionLines: [String] = []
        /// What is wrong with the frozen standby in the window; `nil`: it is as it was frozen.
        public internal(set) var standbyLoss: StandbyLoss?
        /// How often it was lost.
        var standbyLosses = 0
        /// What else was found of it, by code: each stops the run once.
        var standbyTroubles: Set<String> = []
        /// Whether an attempt at it has ended and nobody knows how.
        var wasPromotionUnknown = false
        /// Whether the standby has been promoted behind its fence.
        var isStandbyFenced = false
        /// The labels of the databases whose fence may have been lowered on the way forward; and those of which only the attempt in
        /// flight may have done so.
        var lifted: Set<DatabaseName?> = []
        var beingLifted: Set<DatabaseName?> = []

        /// What one database is at.
        public struct Slot: Hashable, Sendable {
            /// The task whose end is not known yet.
            public var inFlight: DatabaseTaskFact?
            /// It was given up: its end is awaited, and says nothing about the next attempt.
            public var isAbandoned = false
            /// Failures in a row of the task at hand, and when the last one was.
            public var failures = 0
            public var lastFailure: DatabaseFailure?
            public var lastEndedAt: Instant?
        }

        public internal(set) subscript(label: DatabaseName?) -> Slot {
            get { slots[label] ?? Slot() }
            set { slots[label] = newValue }
        }

        /// The tasks whose end is not known yet, in the order of their databases' names.
        public var inFlight: [DatabaseTaskFact] {
            slots.values.compactMap(\.inFlight).sorted {
                ($0.database?.rawValue ?? "") < ($1.database?.rawValue ?? "")
            }
        }

        /// Whether a task that was given up has not ended yet.
        var isEnding: Bool { slots.values.contains { $0.inFlight != nil && $0.isAbandoned } }

        /// Nothing that is in flight is wanted any more.
        mutating func abandon() {
            slots = slots.mapValues { slot in
                var slot = slot
                slot.isAbandoned = slot.inFlight != nil
                return slot
            }
            doneEarly = []
        }
    }

    /// - Returns: `nil` when the plan's text does not give a plan any more: the journal is not of this program.
    public init?(_ created: RunCreated, at createdAt: Instant) {
        guard let plan = PlanDocument.stored(text: created.plan, file: created.planFile),
            let batches = try? plan.rollout.batches(of: created.nodes)
        else { return nil }
        self.created = created
        self.plan = plan
        self.createdAt = createdAt
        self.batches = batches
        itinerary = Itinerary.forward(plan, batches: batches.count)
        members = [:]
        for (index, batch) in batches.enumerated() {
            for node in batch {
                let isInherited = created.quarantined?.contains(node) == true
                members[node] = Member(
                    quarantine: isInherited ? "quarantined by an earlier run" : nil, batch: index,
                    hasJoined: false)
            }
        }
        requests = [created.request]
    }
}

extension Run {
    public var identifier: RunIdentifier { created.run }
    public var fleet: FleetName { created.fleet }

    /// The current phase; on the way back, the phase that is being undone.
    public var phase: Phase { current?.phase ?? .preflight }

    public var state: RunState {
        switch standing {
        case .ended(.done): return .done
        case .ended(.rolledBack): return .rolledBack
        case .ended(.refused): return .refused
        case .stopped: return .waiting
        case .paused: return .paused
        case .active:
            if direction == .back { return .rollingBack }
            return phaseToApprove == nil ? .running : .awaitingApproval
        }
    }

    public var isEnded: Bool { state.isEnded }

    /// The phase that waits for `approve`.
    var phaseToApprove: Phase? {
        guard let current, current.step == .approval(current.phase),
            !approvals.contains(current.phase)
        else { return nil }
        return current.phase
    }

    /// The members that take part, sorted.
    public var participants: [NodeName] {
        members.filter { $0.value.quarantine == nil }.keys.sorted()
    }

    /// Asked at every step, and so without sorting them.
    var hasParticipants: Bool { members.contains { $0.value.quarantine == nil } }

    public var quarantined: [NodeName] {
        members.filter { $0.value.quarantine != nil }.keys.sorted()
    }

    /// The current batch, counted from 1; 0 before the rollout.
    public var currentBatch: Int {
        asking.lazy.compactMap(\.step.batchUpgraded).first.map { $0 + 1 } ?? 0
    }

    func seat(of node: NodeName) -> Seat? { members[node].map { Seat(node: node, member: $0) } }

    /// Whether the schema may be another one than before the run.
    var isSchemaInDoubt: Bool {
        database.inFlight.contains { [.migrate, .openPass].contains($0.kind) }
            || !database.migrated.isEmpty
    }

    /// Whether a step of the way back is over.
    func hasCompletedBack(_ step: Step) -> Bool {
        begunBack.contains(step) && current?.step != step
    }

    /// Whether a forward step of a kind has begun, of whichever database.
    func hasBegun(_ kind: any StepDefinition.Type) -> Bool {
        begun.contains { $0.word == kind.word }
    }

    func isParticipant(_ node: NodeName) -> Bool {
        members[node].map { $0.quarantine == nil } ?? false
    }

    /// What a node served before the run; for one that nobody asked then, what all the others served.
    func oldRelease(of node: NodeName) -> ReleaseReference? {
        if let surveyed = members[node]?.surveyed?.release { return surveyed }
        let others = Set(members.values.compactMap(\.surveyed?.release))
        return others.count == 1 ? others.first : nil
    }

    /// Counts from 1: which attempt of a step this is. Part of the identity of what is done once.
    func attempt(at step: Step) -> Int { 1 + (retries[step] ?? 0) }

    /// The migration files that count, in their order: those that the run was started with, and down files brought since.
    public var migrations: [MigrationReference] {
        var files = created.migrations
        for file in mended {
            if let index = files.firstIndex(where: { $0.isSameFile(as: file) }) {
                files[index] = file
            } else {
                files.append(file)
            }
        }
        return files
    }

    /// Those of one database, by its label.
    public func migrations(of label: DatabaseName?) -> [MigrationReference] {
        migrations.filter { $0.database == label }
    }
}
