// SPDX-License-Identifier: Apache-2.0

internal import UpgradeModel

/// What all nodes of a run have together: a view with some of its nodes has it beside them.
public struct FleetTotals: Hashable, Codable, Sendable {
    /// Nodes of the run, and those that are quarantined.
    public var nodes = 0
    public var quarantined = 0
    /// Members that the current step names, and those that have reached it.
    public var named = 0
    public var reached = 0
    /// Sums over the gates.
    public var writesInFlight = 0
    public var writesWaiting = 0
    public var writesRefused = 0
    public var readsWaiting = 0
    public var readsRefused = 0
    /// Whether any gate holds reads.
    public var readsHeld = false
    /// Writes that reached an application although nobody asked the gate; `nil`: no node says.
    public var unasked: Int?

    public init(of rows: [NodeRow]) {
        nodes = rows.count
        for row in rows {
            if row.standing == .quarantined {
                quarantined += 1
            } else if let reached = row.reached {
                named += 1
                if reached { self.reached += 1 }
            }
            guard let gate = row.status?.gate else { continue }
            // A proxy that does not say when requests end leaves the number unknown.
            add(gate.writesInFlight ?? 0, to: &writesInFlight)
            add(gate.writesWaiting, to: &writesWaiting)
            add(gate.writesRefused, to: &writesRefused)
            add(gate.readsWaiting, to: &readsWaiting)
            add(gate.readsRefused, to: &readsRefused)
            readsHeld = readsHeld || gate.readsHeld || gate.sessionsHeld == true
            if let count = gate.unasked {
                var total = unasked ?? 0
                add(count, to: &total)
                unasked = total
            }
        }
    }

    /// A node's word for a count may be anything.
    private func add(_ count: Int, to total: inout Int) {
        let (sum, isOver) = total.addingReportingOverflow(count)
        total = isOver ? .max : sum
    }
}

extension RunView {
    /// Of all nodes together, also when the view has only some of them.
    public var allNodes: FleetTotals { totals ?? FleetTotals(of: nodes) }

    /// The view with so many nodes at most, those that need looking at first, and with the totals of all.
    ///
    /// A view of ten thousand nodes has fifteen megabytes, which neither side can write or read many times a second.
    public func shortened(to count: Int) -> RunView {
        var view = self
        view.totals = allNodes
        guard nodes.count > count else { return view }
        view.nodes = Array(nodes.sorted(by: NodeRow.isMoreUrgent).prefix(max(0, count)))
        return view
    }
}

extension NodeRow {
    /// Whether a node needs looking at more than another: quarantined, then waited for, then done; by batch and by name.
    public static func isMoreUrgent(_ left: NodeRow, _ right: NodeRow) -> Bool {
        (left.urgency, left.batch ?? .max, left.name) < (
            right.urgency, right.batch ?? .max, right.name
        )
    }

    private var urgency: Int {
        if standing == .quarantined { return 0 }
        switch reached {
        case false?: return 1
        case true?: return 2
        case nil: return 3
        }
    }
}
