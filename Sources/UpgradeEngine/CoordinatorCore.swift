// SPDX-License-Identifier: Apache-2.0

public import RunStore
public import UpgradeModel
import UpgradePlan

/// All runs of one coordinator under one epoch: puts inputs into runs, and says what to store, tell and wait for.
public struct CoordinatorCore: Sendable {
    public let epoch: Epoch
    public private(set) var table: RunTable
    /// The last directive of each node.
    public private(set) var directives: [NodeName: Directive] = [:]
    /// What nodes have said under this leader.
    public private(set) var observations: Observations
    public private(set) var inventory: [NodeName: NodeRecord]
    private var revision: Int64 = 0

    /// - Parameter runs: the latest run of each fleet, folded, and every run that has not ended.
    public init(epoch: Epoch, inventory: [NodeRecord], runs: [Run]) {
        self.epoch = epoch
        observations = Observations(epoch: epoch)
        self.inventory = Dictionary(inventory.map { ($0.name, $0) }) { $1 }
        table = RunTable(runs)
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

    public func run(_ identifier: RunIdentifier) -> Run? { table.run(identifier) }
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
            for fleet in table.runs.keys.sorted() {
                try put(.time, into: fleet, at: now, &ready)
            }
        case .leadershipTaken:
            for fleet in table.runs.keys.sorted() {
                table.runs[fleet]?.ledSince = now
                try put(.leadershipTaken, into: fleet, at: now, &ready)
            }
        case .inventory(let records):
            inventory = Dictionary(records.map { ($0.name, $0) }) { $1 }
            ready.inventory = inventory
            for node in inventory.keys.sorted() where directives[node] == nil {
                renewDirective(of: node).map { ready.directives[node] = $0 }
            }
        }
        ready.wakeAt = table.runs.values.compactMap(\.nextDeadline).min()
        return ready
    }

    // MARK: Starting

    private mutating func start(_ created: RunCreated, at now: Instant, _ ready: inout Ready)
        throws(Refusal)
    {
        if let held = table.runs[created.fleet], !held.isEnded {
            if held.created.request == created.request { return }
            throw .fleetHeld(
                created.fleet, by: held.identifier, of: held.created.by, since: held.createdAt)
        }
        guard !created.nodes.isEmpty else { throw .noNodes }
        for node in created.nodes {
            guard inventory[node] != nil else { throw .unknownNode(node) }
            if let other = table.run(of: node), !other.isEnded {
                throw .nodeHeld(node, by: other.identifier)
            }
        }
        var created = created
        created.quarantined = try quarantineInherited(by: created)
        guard let run = Run(created, at: now) else { throw .invalidPlan }
        table.adopt(run)
        ready.appends.append(
            RunAppend(
                run: run.identifier, expectedVersion: 0, epoch: epoch, at: now,
                events: [.created(created)],
                claim: .take(created.fleet)))
        settle(created.fleet, at: now, &ready)
    }

    /// The nodes that the fleet's last run had to leave quarantined: they stay so, and no run may forget them.
    private func quarantineInherited(by created: RunCreated) throws(Refusal) -> [NodeName]? {
        let left = (table.runs[created.fleet]?.quarantined ?? []).filter { inventory[$0] != nil }
        if let forgotten = left.first(where: { !created.nodes.contains($0) }) {
            throw .quarantinedLeftOut(forgotten)
        }
        if !left.isEmpty, left.count == created.nodes.count { throw .allQuarantined(created.fleet) }
        return left.isEmpty ? nil : left
    }

    // MARK: Statuses

    private mutating func take(
        _ status: NodeStatus, from node: NodeName, at now: Instant, _ ready: inout Ready
    ) throws(Refusal) {
        guard observations.note(status, from: node, at: now) else { return }
        ready.statuses[node] = observations[node]
        guard let fleet = table.fleet(of: node) ?? fleetJoined(by: node),
            let identifier = table.runs[fleet]?.identifier
        else { return }
        ready.changed.insert(identifier)
        try put(.status(node), into: fleet, at: now, &ready)
    }

    /// The fleet of a run in progress that selects a node by label.
    private func fleetJoined(by node: NodeName) -> FleetName? {
        guard let record = inventory[node] else { return nil }
        return table.runs.values
            .filter { !$0.isEnded && $0.plan.selection.selects(node, labels: record.labels) }
            .map(\.fleet).min()
    }

    // MARK: Runs

    private mutating func put(
        _ input: RunInput, into fleet: FleetName, at now: Instant, _ ready: inout Ready
    ) throws(Refusal) {
        // A run is looked at and not held: a second reference would make each fact copy every member.
        guard let events = try table.runs[fleet]?.decide(input, seeing: observations, at: now)
        else {
            return
        }
        if events.isEmpty, case .status = input { return }
        record(events, in: fleet, at: now, &ready)
        settle(fleet, at: now, &ready)
    }

    /// Goes on until nothing more follows.
    private mutating func settle(_ fleet: FleetName, at now: Instant, _ ready: inout Ready) {
        while let events = table.runs[fleet]?.consequences(seeing: observations, at: now),
            !events.isEmpty
        {
            record(events, in: fleet, at: now, &ready)
        }
        table.runs[fleet]?.isUnread = false
    }

    private mutating func record(
        _ events: [RunEvent], in fleet: FleetName, at now: Instant, _ ready: inout Ready
    ) {
        guard !events.isEmpty, let identifier = table.runs[fleet]?.identifier,
            let version = table.runs[fleet]?.version
        else { return }
        var told: Told = .some([])
        for event in events {
            table.runs[fleet].map { told.formUnion($0.told(by: event)) }
            table.apply(RecordedEvent(at: now, epoch: epoch, event: event), to: fleet)
        }
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
        renewDirectives(of: told, in: fleet, &ready)
    }

    // MARK: Directives

    private mutating func renewDirectives(
        of told: Told, in fleet: FleetName, _ ready: inout Ready
    ) {
        let nodes =
            switch told {
            case .some(let nodes): nodes.sorted()
            case .everyMember: table.runs[fleet]?.members.keys.sorted() ?? []
            }
        for node in nodes { renewDirective(of: node).map { ready.directives[node] = $0 } }
    }

    /// - Returns: the new directive when what is asked of the node has changed.
    private mutating func renewDirective(of node: NodeName) -> Directive? {
        var directive =
            table.run(of: node)?.directive(for: node) ?? Directive(epoch: epoch, revision: 0)
        directive.epoch = epoch
        if let last = directives[node], last.asksTheSame(as: directive) { return nil }
        revision += 1
        directive.revision = revision
        directives[node] = directive
        observations.told(node, revision: revision)
        return directive
    }
}
