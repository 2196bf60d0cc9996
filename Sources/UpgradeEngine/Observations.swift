// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What nodes have said to this leader: the latest status of each, when it came, and whether the node knew its present directive
/// when it said so.
public struct Observations: Sendable {
    public struct Seen: Hashable, Sendable {
        public var status: NodeStatus
        public var at: Instant
    }

    private let epoch: Epoch
    public private(set) var seen: [NodeName: Seen] = [:]
    /// The revision of each node's present directive.
    private var revisions: [NodeName: Int64] = [:]

    public init(epoch: Epoch) { self.epoch = epoch }

    public subscript(node: NodeName) -> Seen? { seen[node] }

    /// Takes a status in.
    ///
    /// - Returns: whether it is news: not the same again, and not an older one that comes late.
    public mutating func note(_ status: NodeStatus, from node: NodeName, at now: Instant) -> Bool {
        if let last = seen[node]?.status, !status.isLater(than: last) { return false }
        seen[node] = Seen(status: status, at: now)
        return true
    }

    mutating func noteDirective(of node: NodeName, revision: Int64) { revisions[node] = revision }

    /// The latest status of a node, if it was made under the node's present directive: anything older says nothing about what is
    /// asked now.
    func current(_ node: NodeName) -> NodeStatus? {
        guard let status = seen[node]?.status, status.epoch == epoch,
            status.revision == revisions[node]
        else { return nil }
        return status
    }

    /// Why a node may not be what is asked, for people.
    func explanation(of node: NodeName, at now: Instant) -> String? {
        guard let seen = seen[node] else { return "nothing was heard from it" }
        let silence = now - seen.at
        if silence > Observations.silence {
            return "last heard \(silence.milliseconds / 1000) s ago"
        }
        if let task = seen.status.tasks.first(where: { $0.state == .running }) {
            return "\(task.identity) is still running"
        }
        if let health = seen.status.health, health.state == .checking {
            return "its health check last said: \(health.detail)"
        }
        if let proof = seen.status.gate.proof, !seen.status.gate.isProved, !proof.detail.isEmpty {
            return proof.detail
        }
        if seen.status.gate.writes != .open {
            switch seen.status.gate.writesInFlight {
            case nil: return "its writes in flight are not counted"
            case let count? where count > 0: return "\(count) writes are in flight"
            default: break
            }
        }
        return seen.status.staging.map { "\($0.bytesDone) of \($0.bytesTotal) bytes are staged" }
    }
}
