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
    case request(RunIdentifier, RequestVerb, RequestStamp)
    case demand(RunIdentifier, Demand, RequestStamp)
    case status(NodeName, NodeStatus)
    case databaseEnded(RunIdentifier, DatabaseTaskFact, DatabaseOutcome)
    case standbySeen(RunIdentifier, StandbySight)
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
        case .request(let identifier, let verb, let stamp):
            guard let index = table.index(of: identifier) else { throw .noSuchRun(identifier) }
            try handle(.request(verb, stamp), inRunAt: index, at: now, &ready)
        case .demand(let identifier, let demand, let stamp):
            guard let index = table.index(of: identifier) else { throw .noSuchRun(identifier) }
            try handle(.demand(demand, stamp), inRunAt: index, at: now, &ready)
        case .status(let node, let status):
            try handle(status, from: node, at: now, &ready)
        case .databaseEnded(let identifier, let task, let outcome):
            guard let index = table.index(of: identifier) else { break }
            try handle(.databaseEnded(task, outcome), inRunAt: index, at: now, &ready)
        case .standbySeen(let identifier, let sight):
            guard let index = table.index(of: identifier) else { break }
            try handle(.standbySeen(sight), inRunAt: index, at: now, &ready)
        case .time:
            for index in table.indicesByFleet { try handle(.time, inRunAt: index, at: now, &ready) }
        case .leadershipTaken:
            for index in table.indicesByFleet {
                table.noteLead(at: index, since: now)
                try handle(.leadershipTaken, inRunAt: index, at: now, &ready)
            }
        case .inventory(let records):
            inventory = Dictionary(records.map { ($0.name, $0) }) { $1 }
            ready.inventory = inventory
            for node in inventory.keys.sorted() where directives[node] == nil {
                renewDirective(of: node).map { ready.directives[node] = $0 }
            }
        }
        ready.wakeAt = table.nextDeadline
        return ready
    }

    // MARK: Starting

    private mutating func start(_ created: RunCreated, at now: Instant, _ ready: inout Ready)
        throws(Refusal)
    {
        if let held = table.run(of: created.fleet), !held.isEnded {
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
        table.index(of: created.fleet).map { settle($0, at: now, &ready) }
    }

    /// The nodes that the fleet's last run had to leave quarantined: they stay so, and no run may forget them.
    private func quarantineInherited(by created: RunCreated) throws(Refusal) -> [NodeName]? {
        let left = (table.run(of: created.fleet)?.quarantined ?? []).filter { inventory[$0] != nil }
        if let forgotten = left.first(where: { !created.nodes.contains($0) }) {
            throw .quarantinedLeftOut(forgotten)
        }
        if !left.isEmpty, left.count == created.nodes.count { throw .allQuarantined(created.fleet) }
        return left.isEmpty ? nil : left
    }

    // MARK: Statuses

    private mutating func handle(
        _ status: NodeStatus, from node: NodeName, at now: Instant, _ ready: inout Ready
    ) throws(Refusal) {
        guard observations.note(status, from: node, at: now) else { return }
        ready.statuses[node] = observations[node]
        guard let index = table.index(ofRunOf: node) ?? indexJoined(by: node) else { return }
        ready.changed.insert(table.list[index].identifier)
        try handle(.status(node), inRunAt: index, at: now, &ready)
    }

    /// The run in progress that selects a node by label.
    private func indexJoined(by node: NodeName) -> Int? {
        guard let labels = inventory[node]?.labels else { return nil }
        return table.indicesByFleet.first { index in
            !table.list[index].isEnded
                && table.list[index].plan.selection.selects(node, labels: labels)
        }
    }

    // MARK: Runs

    private mutating func handle(
        _ input: RunInput, inRunAt index: Int, at now: Instant, _ ready: inout Ready
    ) throws(Refusal) {
        // A run is looked at and not held: a second reference would make each fact copy every member.
        let events = try table.list[index].decide(input, seeing: observations, at: now)
        if events.isEmpty, case .status = input { return }
        record(events, at: index, now, &ready)
        settle(index, at: now, &ready)
    }

    /// Goes on until nothing more follows.
    private mutating func settle(_ index: Int, at now: Instant, _ ready: inout Ready) {
        while true {
            let events = table.list[index].consequences(seeing: observations, at: now)
            if events.isEmpty { break }
            record(events, at: index, now, &ready)
        }
        table.markRead(at: index)
    }

    private mutating func record(
        _ events: [RunEvent], at index: Int, _ now: Instant, _ ready: inout Ready
    ) {
        guard !events.isEmpty else { return }
        let version = table.list[index].version
        var affected: AffectedNodes = .some([])
        for event in events {
            affected.formUnion(table.list[index].nodesAffected(by: event))
            table.apply(RecordedEvent(at: now, epoch: epoch, event: event), at: index)
        }
        let ends = events.contains { if case .ended = $0 { true } else { false } }
        let identifier = table.list[index].identifier
        let claim: JournalAppend.Claim? = ends ? .release(table.list[index].fleet) : nil
        ready.changed.insert(identifier)
        if let last = ready.appends.indices.last, ready.appends[last].run == identifier {
            ready.appends[last].events += events
            if let claim { ready.appends[last].claim = claim }
        } else {
            ready.appends.append(
                RunAppend(
                    run: identifier, expectedVersion: version, epoch: epoch, at: now,
                    events: events, claim: claim))
        }
        renewDirectives(of: affected, at: index, &ready)
    }

    // MARK: Directives

    private mutating func renewDirectives(
        of affected: AffectedNodes, at index: Int, _ ready: inout Ready
    ) {
        let nodes =
            switch affected {
            case .some(let nodes): nodes.sorted()
            case .everyMember: table.list[index].members.keys.sorted()
            }
        for node in nodes { renewDirective(of: node).map { ready.directives[node] = $0 } }
    }

    /// - Returns: the new directive when what is asked of the node has changed.
    private mutating func renewDirective(of node: NodeName) -> Directive? {
        let index = table.index(ofRunOf: node)
        let asked = index.flatMap { table.list[$0].directive(for: node) }
        var directive = asked ?? Directive(epoch: epoch, revision: 0)
        directive.epoch = epoch
        if let last = directives[node], last.asksTheSame(as: directive) { return nil }
        revision += 1
        directive.revision = revision
        directives[node] = directive
        observations.noteDirective(of: node, revision: revision)
        return directive
    }
}
