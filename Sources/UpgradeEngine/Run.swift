// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
public import UpgradePlan

/// One run of a plan: a value, rebuilt by folding its events.
///
/// It remembers nothing that is in flight. What each node should be (`directive`) and what the database needs (`databaseCommand`) are
/// computed from the facts so far; restarting is folding, then asking again.
public struct Run: Sendable {
    public let created: RunCreated
    public let plan: Plan
    public let createdAt: Instant
    /// The rollout's batches: canary first.
    public let batches: [[NodeName]]

    /// How many events have been applied.
    public internal(set) var version: Int64 = 1
    public internal(set) var standing: Standing = .going
    public internal(set) var direction: Direction = .forward
    /// The steps of the direction in hand.
    public internal(set) var itinerary: [PlannedStep]
    /// The step in hand; `nil` before the first has begun.
    public internal(set) var current: Current?
    /// Every forward step that has begun, whether it ended or not.
    public internal(set) var begun: Set<Step> = []
    /// Every step of the way back that has begun.
    public internal(set) var begunBack: Set<Step> = []
    public internal(set) var members: [NodeName: Member]
    public internal(set) var database = DatabaseProgress()
    public internal(set) var approvals: Set<Phase> = []
    /// How often each step has been tried again at a person's request.
    public internal(set) var retries: [Step: Int] = [:]
    /// Identifiers of the requests that were accepted, so that each counts once.
    public internal(set) var requests: Set<String> = []
    /// Why the run turned back or was aborted.
    public internal(set) var reason: String?
    /// What to do about it next, where that can be said.
    public internal(set) var advice: String?
    /// Since when the present leader has led: nobody can have reported to it before. Not a fact of the run, and not stored.
    public internal(set) var ledSince: Instant?
    /// The members that have proved that they stay closed without the coordinator while the schema changes.
    public internal(set) var braced: Set<NodeName> = []
    /// Since when writers are waited for: the drain's budget is one, for nodes, fence and census together.
    public internal(set) var drainBegan: Instant?
    /// When the gates began to close, and when the last one had opened.
    public internal(set) var windowOpened: Instant?
    public internal(set) var windowClosed: Instant?
    public internal(set) var endedAt: Instant?

    /// Whether the run goes on by itself.
    public enum Standing: Hashable, Sendable {
        case going
        /// No new step begins until `resumed`; the step in hand goes on.
        case paused
        /// Waits for a person: `retry`, `rollback` or `abort`.
        case stopped(Stopped)
        case ended(Ended.Outcome)
    }

    /// The step in hand and how far it is.
    public struct Current: Hashable, Sendable {
        public var index: Int
        public var planned: PlannedStep
        public var beganAt: Instant
        /// The nodes that the step names.
        public var targets: Set<NodeName>
        /// The nodes that the step still waits for.
        public var pending: Set<NodeName>
        /// The nodes that failed it, and why.
        public var failed: [NodeName: String]
        /// For a database step: done.
        public var isDatabaseDone: Bool

        public var step: Step { planned.step }
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
    }

    /// What the database has been asked and has answered.
    public struct DatabaseProgress: Hashable, Sendable {
        /// The task whose end is not known yet.
        public var inFlight: DatabaseTaskFact?
        /// How often each kind has been started.
        public var attempts: [DatabaseTask.Kind: Int] = [:]
        /// Failures in a row of the kind in hand, and when the last one was.
        public var failures = 0
        public var lastFailure: DatabaseFailure?
        public var lastEndedAt: Instant?
        public var census: CensusProof?
        /// The task in flight was given up: its end is awaited, and says nothing about the next attempt.
        public var isAbandoned = false
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

    /// The phase in hand; on the way back, the phase that is being undone.
    public var phase: Phase { current?.planned.phase ?? .preflight }

    public var state: RunState {
        switch standing {
        case .ended(.done): return .done
        case .ended(.rolledBack): return .rolledBack
        case .ended(.refused): return .refused
        case .stopped: return .waiting
        case .paused: return .paused
        case .going:
            if direction == .back { return .rollingBack }
            if case .approval(let phase)? = current?.step, !approvals.contains(phase) {
                return .awaitingApproval
            }
            return .running
        }
    }

    public var isEnded: Bool { state.isEnded }

    /// Whether nothing is undone any more, because application writes may have happened on the new schema.
    public var isPastPointOfNoReturn: Bool {
        begun.contains(.database(.lowerFence)) || begun.contains(.nodes(.opened))
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

    /// The batch in hand, counted from 1; 0 before the rollout.
    public var batchInHand: Int {
        batches.indices.reversed().first { begun.contains(.nodes(.upgraded(batch: $0))) }.map {
            $0 + 1
        } ?? 0
    }

    /// The nodes that a step waits for.
    ///
    /// Before the schema changes, a quarantined node has to say too that it lets no write through: one that is not heard might
    /// go on serving the old release.
    func named(by step: Step) -> [NodeName] {
        switch step {
        // Whoever has joined since the nodes were braced is waited for like the others.
        case .database(.migrate) where direction == .forward:
            members.keys.filter { !braced.contains($0) }.sorted()
        case .approval, .database, .bake: []
        case .nodes(.closed), .nodes(.braced): members.keys.sorted()
        case .nodes(.upgraded(let batch)):
            batches.indices.contains(batch) ? batches[batch].filter(isParticipant) : []
        case .nodes: participants
        case .hook(let index): targets(of: index)
        }
    }

    private func targets(of hook: Int) -> [NodeName] {
        switch plan.hooks[hook].target {
        case .everyNode: participants
        case .oneNode: Array(participants.prefix(1))
        case .node(let name): isParticipant(name) ? [name] : []
        }
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
}
