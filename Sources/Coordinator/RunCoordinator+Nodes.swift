// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
import Logging
import RunStore
import SteadyClock
import UpgradeEngine
public import UpgradeModel

extension RunCoordinator {
    /// Long-polls that one node may have open; an older one is answered with nothing new.
    private static let pollsPerNode = 2

    /// The node's directive as soon as it is newer than the one the node has; `nil` when the wait is over.
    public func directive(
        for node: NodeName, _ query: DirectiveQuery
    ) async throws(APIError) -> Directive? {
        try await admit(node)
        if let directive = newDirective(for: node, than: query) { return directive }
        let wait = min(query.wait, Limits.longPoll)
        guard wait > .zero else { return nil }
        tickets += 1
        let ticket = tickets
        let found = await withTaskGroup(of: Directive?.self) { group in
            group.addTask { await self.park(node, query, ticket) }
            group.addTask {
                try? await Task.sleep(for: .milliseconds(wait.milliseconds))
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            unpark(node, ticket)
            return first
        }
        if fault != nil { throw .ended }
        return found
    }

    private func newDirective(for node: NodeName, than query: DirectiveQuery) -> Directive? {
        guard let directive = published.directives[node],
            (directive.epoch, directive.revision) > (query.epoch, query.revision)
        else { return nil }
        return directive
    }

    private func park(_ node: NodeName, _ query: DirectiveQuery, _ ticket: Int) async -> Directive?
    {
        if let directive = newDirective(for: node, than: query) { return directive }
        guard fault == nil, !Task.isCancelled else { return nil }
        return await withCheckedContinuation { poll in
            parked[node, default: []].append((ticket, poll))
            while let count = parked[node]?.count, count > Self.pollsPerNode {
                parked[node]?.removeFirst().poll.resume(returning: nil)
            }
        }
    }

    private func unpark(_ node: NodeName, _ ticket: Int) {
        guard let index = parked[node]?.firstIndex(where: { $0.ticket == ticket }) else { return }
        parked[node]?.remove(at: index).poll.resume(returning: nil)
        if parked[node]?.isEmpty == true { parked[node] = nil }
    }

    /// Takes a status in; answered when what follows from it is stored.
    public func report(_ status: NodeStatus, from node: NodeName) async throws(APIError)
        -> StatusReceipt
    {
        if let problem = status.limitProblem {
            throw APIError(
                .tooLarge, message: "the status of \(node) is refused: \(problem)",
                advice: "the agent is of another version, or not an agent")
        }
        try await admit(node)
        noticeSharedToken(of: node, status)
        try await submit(.status(node, status))
        return StatusReceipt(epoch: epoch, revision: published.directives[node]?.revision ?? 0)
    }

    private func noticeSharedToken(of node: NodeName, _ status: NodeStatus) {
        let isNews = sharedTokens[node, default: SharedToken()].note(
            status.boot, status.sequence, at: clock.now)
        if isNews { log.error("\(SharedToken.warning(node))", metadata: ["node": "\(node)"]) }
    }

    /// What a person should know of a node that its status does not say.
    func warning(of node: NodeName, at now: Instant) -> String? {
        sharedTokens[node]?.isShared(at: now) == true ? SharedToken.warning(node) : nil
    }

    /// Every node that has a token, sorted by name.
    public func nodes() async throws(APIError) -> [NodeView] {
        try await renewInventory()
        let now = clock.now
        return published.inventory.values.sorted { $0.name < $1.name }.map { record in
            let seen = published.statuses[record.name]
            return NodeView(
                name: record.name, labels: record.labels,
                run: published.run(of: record.name)?.identifier,
                lastSeen: seen.map { now - $0.at }, status: seen?.status,
                warning: warning(of: record.name, at: now))
        }
    }

    /// A node that got its token after this coordinator started is known from its first contact on.
    private func admit(_ node: NodeName) async throws(APIError) {
        if fault != nil { throw .ended }
        if published.inventory[node] != nil { return }
        try await renewInventory()
        guard published.inventory[node] != nil else {
            throw APIError(
                .unauthorized, message: "the node \(node) is not in the inventory",
                advice: "give it a token: sluice token create --node \(node)")
        }
    }

    func renewInventory() async throws(APIError) {
        let records: [NodeRecord]
        do throws(StoreFailure) {
            records = try await ports.registry.nodes()
        } catch {
            throw APIError(error)
        }
        let known = published.inventory
        guard records.count != known.count || records.contains(where: { known[$0.name] != $0 })
        else {
            return
        }
        try await submit(.inventory(records))
    }
}
