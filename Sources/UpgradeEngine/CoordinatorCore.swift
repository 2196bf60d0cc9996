// SPDX-License-Identifier: Apache-2.0

public import RunStore
public import UpgradeModel
public import UpgradePlan

/// All runs of one coordinator under one epoch: puts inputs into runs, and says what to store, tell and wait for.
public struct CoordinatorCore: Sendable {
    public let epoch: Epoch
    /// The latest run of each fleet; an ended one still says what its nodes should be.
    public private(set) var runs: [FleetName: Run] = [:]
    /// The last directive of each node.
    public private(set) var directives: [NodeName: Directive] = [:]
    /// The last status of each node under this leader, and when it came.
    public private(set) var statuses: [NodeName: Seen] = [:]
    public private(set) var inventory: [NodeName: NodeRecord]
    private var fleets: [NodeName: FleetName] = [:]
    private var revision: Int64 = 0

    public struct Seen: Hashable, Sendable {
        public var status: NodeStatus
        public var at: Instant
    }

    /// - Parameter runs: the latest run of each fleet, folded, and every run that has not ended.
    public init(epoch: Epoch, inventory: [NodeRecord], runs: [Run]) {
        self.epoch = epoch
        self.inventory = Dictionary(inventory.map { ($0.name, $0) }) { $1 }
        for run in runs.sorted(by: { $0.createdAt < $1.createdAt }) { adopt(run) }
        for node in self.inventory.keys.sorted() { _ = renewDirective(of: node) }
    }

    /// Folds a run from its stored events.
    ///
    /// - Returns: `nil` when they do not begin with a `created` whose plan this program understands.
    public static func fold(_ events: [RecordedEvent]) -> Run? {
        guard let first = events.first, case .created(let created) = first.event,
            var run = Run(created, at: first.at)
        else { return nil }
        for event in events.dropFirst() { run.apply(event) }
        return run
    }

    public func run(_ identifier: RunIdentifier) -> Run? {
        runs.values.first { $0.identifier == identifier }
    }

    /// The run that a node takes its directive from.
    public func run(of node: NodeName) -> Run? { fleets[node].flatMap { runs[$0] } }

    /// Becomes what a core that has gone on from this one is now.
    ///
    /// For a shell that keeps what is stored beside what is not stored yet. It costs what has changed: assigned as a whole, each of
    /// the two would copy every node's status and directive at its next input.
    ///
    /// - Parameter nodes: those that have reported, and those that have been told something new, since they were the same.
    public mutating func catchUp(with later: CoordinatorCore, nodes: Set<NodeName>) {
        runs = later.runs
        inventory = later.inventory
        fleets = later.fleets
        revision = later.revision
        for node in nodes {
            statuses[node] = later.statuses[node]
            directives[node] = later.directives[node]
        }
        assert(statuses == later.statuses && directives == later.directives, "a node is missing")
    }

    private mutating func adopt(_ run: Run) {
        runs[run.fleet] = run
        // A node that this run does not name goes on with what the last one told it.
        fleets = fleets.filter { $0.value != run.fleet }
        for node in run.members.keys { fleets[node] = run.fleet }
    }
}

/// What a coordinator hears.
public enum CoreInput: Sendable {
    case start(RunCreated)
    case request(RunIdentifier, RequestVerb, RequestMark)
    case status(NodeName, NodeStatus)
    case databaseEnded(RunIdentifier, DatabaseTaskFact, DatabaseOutcome)
    case time
    /// Put in once, first: what the last leader had in flight is lost.
    case leadershipTaken
    /// The inventory has changed.
    case inventory([NodeRecord])
}

extension CoordinatorCore {
    /// Takes an input in and returns everything that follows from it.
    ///
    /// - Throws: `Refusal`, with nothing changed.
    public mutating func step(_ input: CoreInput, at now: Instant) throws(Refusal) -> Ready {
        var ready = Ready()
        switch input {
        case .start(let created):
            try start(created, at: now, &ready)
        case .request(let identifier, let verb, let mark):
            guard let run = run(identifier) else { throw .noSuchRun(identifier) }
            try put(.request(verb, mark), into: run.fleet, at: now, &ready)
        case .status(let node, let status):
            try take(status, from: node, at: now, &ready)
        case .databaseEnded(let identifier, let task, let outcome):
            guard let run = run(identifier) else { break }
            try put(.databaseEnded(task, outcome), into: run.fleet, at: now, &ready)
        case .time:
            for fleet in runs.keys.sorted() {
                try put(.time(known: known(of: fleet, at: now)), into: fleet, at: now, &ready)
            }
        case .leadershipTaken:
            for fleet in runs.keys.sorted() {
                runs[fleet]?.ledSince = now
                try put(.leadershipTaken, into: fleet, at: now, &ready)
            }
        case .inventory(let records):
            inventory = Dictionary(records.map { ($0.name, $0) }) { $1 }
            for node in inventory.keys.sorted() where directives[node] == nil {
                renewDirective(of: node).map { ready.directives[node] = $0 }
            }
        }
        ready.wakeAt = runs.values.compactMap(\.nextDeadline).min()
        return ready
    }

    // MARK: Starting

    private mutating func start(_ created: RunCreated, at now: Instant, _ ready: inout Ready)
        throws(Refusal)
    {
        if let held = runs[created.fleet], !held.isEnded {
            if held.created.request == created.request { return }
            throw .fleetHeld(
                created.fleet, by: held.identifier, of: held.created.by, since: held.createdAt)
        }
        guard !created.nodes.isEmpty else { throw .noNodes }
        for node in created.nodes {
            guard inventory[node] != nil else { throw .unknownNode(node) }
            if let other = run(of: node), !other.isEnded {
                throw .nodeHeld(node, by: other.identifier)
            }
        }
        var created = created
        created.quarantined = try quarantineInherited(by: created)
        guard let run = Run(created, at: now) else { throw .invalidPlan }
        adopt(run)
        ready.appends.append(
            RunAppend(
                run: run.identifier, expectedVersion: 0, epoch: epoch, at: now,
                events: [.created(created)],
                claim: .take(created.fleet)))
        settle(created.fleet, at: now, &ready, looksAgain: true)
    }

    /// The nodes that the fleet's last run had to leave quarantined: they stay so, and no run may forget them.
    private func quarantineInherited(by created: RunCreated) throws(Refusal) -> [NodeName]? {
        let left = (runs[created.fleet]?.quarantined ?? []).filter { inventory[$0] != nil }
        if let forgotten = left.first(where: { !created.nodes.contains($0) }) {
            throw .quarantinedLeftOut(forgotten)
        }
        if !left.isEmpty, left.count == created.nodes.count { throw .allQuarantined(created.fleet) }
        return left.isEmpty ? nil : left
    }

    /// The nodes that a selection means now, sorted.
    public func nodes(selectedBy selection: NodeSelection) -> [NodeName] {
        switch selection {
        case .names(let names): names
        case .labels:
            inventory.values.filter { selection.selects($0.name, labels: $0.labels) }.map(\.name)
                .sorted()
        }
    }

    // MARK: Statuses

    private mutating func take(
        _ status: NodeStatus, from node: NodeName, at now: Instant, _ ready: inout Ready
    ) throws(Refusal) {
        if let last = statuses[node]?.status, !status.isLater(than: last) { return }
        statuses[node] = Seen(status: status, at: now)
        guard let fleet = fleets[node] ?? fleetJoined(by: node),
            let identifier = runs[fleet]?.identifier
        else { return }
        ready.changed.insert(identifier)
        if runs[fleet]?.members[node] == nil {
            try put(.nodeAppeared(node), into: fleet, at: now, &ready)
        } else if isCurrent(status, of: node) {
            try put(.status(node, status), into: fleet, at: now, &ready)
        }
    }

    /// The fleet of a run in progress that selects a node by label.
    private func fleetJoined(by node: NodeName) -> FleetName? {
        guard let record = inventory[node] else { return nil }
        return runs.values
            .filter { !$0.isEnded && $0.plan.selection.selects(node, labels: record.labels) }
            .map(\.fleet).min()
    }

    /// Whether a status was observed under the node's present directive.
    private func isCurrent(_ status: NodeStatus, of node: NodeName) -> Bool {
        guard let directive = directives[node] else { return false }
        return status.epoch == directive.epoch && status.revision == directive.revision
    }

    /// What the last statuses say of the nodes that a step waits for, where that explains why it is not reached.
    private func known(of fleet: FleetName, at now: Instant) -> [NodeName: String] {
        guard let run = runs[fleet], let deadline = run.nextDeadline, now >= deadline,
            let pending = run.current?.pending
        else { return [:] }
        var known: [NodeName: String] = [:]
        for node in pending { known[node] = explanation(of: statuses[node], at: now) }
        return known
    }

    private func explanation(of seen: Seen?, at now: Instant) -> String? {
        guard let seen else { return "nothing was heard from it" }
        let silence = now - seen.at
        if silence > .seconds(15) { return "last heard \(silence.milliseconds / 1000) s ago" }
        if let task = seen.status.tasks.first(where: { $0.state == .running }) {
            return "\(task.identity) is still running"
        }
        if let health = seen.status.health, health.state == .checking {
            return "its health check last said: \(health.detail)"
        }
        if seen.status.gate.writesInFlight > 0, !(seen.status.gate.writes == .open) {
            return "\(seen.status.gate.writesInFlight) writes are in flight"
        }
        return seen.status.staging.map { "\($0.bytesDone) of \($0.bytesTotal) bytes are staged" }
    }

    // MARK: Runs

    private mutating func put(
        _ input: RunInput, into fleet: FleetName, at now: Instant, _ ready: inout Ready
    ) throws(Refusal) {
        // A run is looked at and not held: a second reference would make each fact copy every member.
        guard var events = try runs[fleet]?.decide(input, at: now) else { return }
        if case .status(let node, _) = input, let all = refusal(by: events, of: node, fleet, now) {
            events = all
        }
        if events.isEmpty, case .status = input { return }
        record(events, in: fleet, at: now, &ready)
        settle(fleet, at: now, &ready, looksAgain: events.contains(where: \.changesWhatIsAsked))
    }

    /// Goes on until nothing more follows: consequences, and what is known already of the nodes that a step names.
    ///
    /// - Parameter looksAgain: whether the last statuses may say more than they did, because another step is in hand.
    private mutating func settle(
        _ fleet: FleetName, at now: Instant, _ ready: inout Ready, looksAgain: Bool
    ) {
        var looksAgain = looksAgain
        while let consequences = runs[fleet]?.consequences(at: now) {
            if !consequences.isEmpty {
                record(consequences, in: fleet, at: now, &ready)
                looksAgain = looksAgain || consequences.contains(where: \.changesWhatIsAsked)
                continue
            }
            guard looksAgain else { return }
            let known = factsKnown(in: fleet, at: now)
            looksAgain = !known.isEmpty
            record(known, in: fleet, at: now, &ready)
        }
    }

    /// What the last statuses say of the step in hand, where they were observed under the present directive.
    private func factsKnown(in fleet: FleetName, at now: Instant) -> [RunEvent] {
        guard let run = runs[fleet], let pending = run.current?.pending else { return [] }
        var facts: [RunEvent] = []
        for node in pending.sorted() {
            guard let seen = statuses[node], isCurrent(seen.status, of: node),
                let events = try? run.decide(.status(node, seen.status), at: now), !events.isEmpty
            else { continue }
            // A failure changes what the others are asked, so it is taken in by itself.
            let isFailure = events.contains { if case .nodeFailed = $0 { true } else { false } }
            if isFailure, !facts.isEmpty { return facts }
            if isFailure { return refusal(by: events, of: node, fleet, now) ?? events }
            facts += events
        }
        return facts
    }

    /// The facts of a node that end preflight, with every other node of which as much is known, and what to do.
    ///
    /// Whoever puts one node right only to hear of the next has to begin as many runs as there are nodes. The others may have
    /// said it under an older directive: what they serve does not depend on that, and the run is refused in any case.
    private func refusal(
        by events: [RunEvent], of node: NodeName, _ fleet: FleetName, _ now: Instant
    ) -> [RunEvent]? {
        let ends = events.contains { if case .turnedBack = $0 { true } else { false } }
        guard ends, let current = runs[fleet]?.current, current.step == .nodes(.present) else {
            return nil
        }
        var said: [NodeName: NodeStatus] = [:]
        for other in current.pending {
            guard let seen = statuses[other] else { continue }
            if other == node || now - seen.at <= .seconds(30) { said[other] = seen.status }
        }
        return try? runs[fleet]?.decide(.presence(said), at: now)
    }

    private mutating func record(
        _ events: [RunEvent], in fleet: FleetName, at now: Instant, _ ready: inout Ready
    ) {
        guard !events.isEmpty, let identifier = runs[fleet]?.identifier,
            let version = runs[fleet]?.version
        else { return }
        var addressed = AddressedNodes.some([])
        for event in events {
            runs[fleet].map { addressed.formUnion($0.nodesAddressed(by: event)) }
            runs[fleet]?.apply(RecordedEvent(at: now, epoch: epoch, event: event))
        }
        for case .nodeJoined(let fact) in events { fleets[fact.node] = fleet }
        let ends = events.contains { if case .ended = $0 { true } else { false } }
        ready.changed.insert(identifier)
        if let last = ready.appends.indices.last, ready.appends[last].run == identifier {
            ready.appends[last].events += events
            if ends { ready.appends[last].claim = .release(fleet) }
        } else {
            ready.appends.append(
                RunAppend(
                    run: identifier, expectedVersion: version, epoch: epoch, at: now,
                    events: events,
                    claim: ends ? .release(fleet) : nil))
        }
        renewDirectives(of: addressed, in: fleet, &ready)
    }

    // MARK: Directives

    private mutating func renewDirectives(
        of addressed: AddressedNodes, in fleet: FleetName, _ ready: inout Ready
    ) {
        let nodes =
            switch addressed {
            case .some(let nodes): nodes.sorted()
            case .all: runs[fleet]?.members.keys.sorted() ?? []
            }
        for node in nodes { renewDirective(of: node).map { ready.directives[node] = $0 } }
    }

    /// - Returns: the new directive when what is asked of the node has changed.
    private mutating func renewDirective(of node: NodeName) -> Directive? {
        var directive =
            run(of: node)?.directive(for: node) ?? Directive(epoch: epoch, revision: 0)
        directive.epoch = epoch
        if let last = directives[node], last.asksTheSame(as: directive) { return nil }
        revision += 1
        directive.revision = revision
        directives[node] = directive
        return directive
    }
}
