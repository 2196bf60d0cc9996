// SPDX-License-Identifier: Apache-2.0

public import RunStore
import Synchronization
public import UpgradeModel

/// A journal and a registry that live as long as the process: for tests.
///
/// Keeps every rule of the ports, so that what passes here is refused on a disk as well. Nothing survives the process, but the
/// object may outlive the coordinator that used it, which is how a restart is tested.
public final class InMemoryRunStore: Journal, Registry {
    struct Token {
        var identity: Identity
    }

    struct State {
        var epoch = Epoch.zero
        var leader: (serial: Int, holder: String)?
        var leases = 0
        var events: [RunIdentifier: [StoredEvent]] = [:]
        /// In the order in which the runs were created.
        var runs: [(run: RunIdentifier, fleet: FleetName, createdAt: Instant)] = []
        var claims: [FleetName: FleetClaim] = [:]
        var tokens: [Digest: Token] = [:]
        var nodes: [NodeName: NodeRecord] = [:]
        var registryChanges: Int64 = 0
    }

    let state = Mutex(State())

    public init() {}

    // MARK: Journal

    public func append(_ appends: [JournalAppend]) async throws(StoreFailure) {
        let result: Result<Void, StoreFailure> = state.withLock { state in
            var changed = state
            do throws(StoreFailure) {
                for append in appends { try Self.store(append, in: &changed) }
                state = changed
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    private static func store(_ append: JournalAppend, in state: inout State) throws(StoreFailure) {
        try refuseWrongEpoch(append.epoch, current: state.epoch)
        let version = Int64(state.events[append.run]?.count ?? 0)
        guard version == append.expectedVersion else {
            throw .conflict(run: append.run, expected: append.expectedVersion, actual: version)
        }
        let isKnown = state.events[append.run] != nil
        switch append.claim {
        case .take(let fleet):
            if let held = state.claims[fleet], held.run != append.run { throw .fleetHeld(held) }
            state.claims[fleet] =
                state.claims[fleet] ?? FleetClaim(fleet: fleet, run: append.run, since: append.at)
            if !isKnown { state.runs.append((append.run, fleet, append.at)) }
        case .release(let fleet):
            if let held = state.claims[fleet], held.run != append.run { throw .fleetHeld(held) }
            guard isKnown else { throw .notFound("run \(append.run)") }
            state.claims[fleet] = nil
        case nil:
            guard isKnown else { throw .notFound("run \(append.run)") }
        }
        for (offset, body) in append.bodies.enumerated() {
            state.events[append.run, default: []].append(
                StoredEvent(
                    run: append.run, version: version + Int64(offset) + 1, epoch: append.epoch,
                    at: append.at, body: body))
        }
        if !isKnown { state.events[append.run, default: []] += [] }
    }

    public func events(
        of run: RunIdentifier, after version: Int64, limit: Int
    ) async throws(StoreFailure) -> [StoredEvent] {
        state.withLock { state in
            Array((state.events[run] ?? []).drop { $0.version <= version }.prefix(max(0, limit)))
        }
    }

    public func runs(limit: Int) async throws(StoreFailure) -> [RunRecord] {
        state.withLock { state in
            state.runs.reversed().prefix(max(0, limit)).map { row in
                RunRecord(
                    run: row.run, fleet: row.fleet, createdAt: row.createdAt,
                    version: Int64(state.events[row.run]?.count ?? 0))
            }
        }
    }

    public func claims() async throws(StoreFailure) -> [FleetClaim] {
        state.withLock { state in state.claims.values.sorted { $0.fleet < $1.fleet } }
    }

    public func latestInstant() async throws(StoreFailure) -> Instant? {
        state.withLock { state in state.events.values.compactMap { $0.map(\.at).max() }.max() }
    }

    // MARK: Registry

    public func addTokens(_ tokens: [NewToken], at now: Instant) async throws(StoreFailure) {
        state.withLock { state in
            state.registryChanges += 1
            for token in tokens {
                if token.replaces {
                    state.tokens = state.tokens.filter { $0.value.identity != token.identity }
                }
                state.tokens[token.hash] = Token(identity: token.identity)
                guard case .node(let name) = token.identity else { continue }
                let known = state.nodes[name]?.labels ?? [:]
                state.nodes[name] = NodeRecord(
                    name: name, labels: token.labels.isEmpty ? known : token.labels)
            }
        }
    }

    public func identities() async throws(StoreFailure) -> [Digest: Identity] {
        state.withLock { $0.tokens.mapValues(\.identity) }
    }

    @discardableResult
    public func revokeTokens(of identity: Identity) async throws(StoreFailure) -> Bool {
        state.withLock { state in
            state.registryChanges += 1
            let left = state.tokens.filter { $0.value.identity != identity }
            var isKnown = left.count < state.tokens.count
            state.tokens = left
            if case .node(let name) = identity, state.nodes.removeValue(forKey: name) != nil {
                isKnown = true
            }
            return isKnown
        }
    }

    public func changes() async throws(StoreFailure) -> Int64 {
        state.withLock { $0.registryChanges }
    }

    public func nodes() async throws(StoreFailure) -> [NodeRecord] {
        state.withLock { state in state.nodes.values.sorted { $0.name < $1.name } }
    }
}
