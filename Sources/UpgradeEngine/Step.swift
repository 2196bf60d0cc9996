// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// One thing that has to be so before the next begins: a barrier over nodes, a database task, an approval, a hook, a wait.
public enum Step: Hashable, Sendable {
    /// Waits for `approve`.
    case approval(Phase)
    /// The hook of this index in the plan.
    case hook(Int)
    case nodes(NodeGoal)
    case database(DatabaseTask.Kind)
    /// Watches a batch before the next one begins.
    case bake(batch: Int)
}

/// What every node that a step names has to report.
public enum NodeGoal: Hashable, Sendable {
    /// Reports, is on the expected release, and its gate is open.
    case present
    /// The new release is on disk, verified, and warm.
    case staged
    /// The gate is closed to writes.
    case closed
    /// No write request is in flight.
    case drained
    /// Stays closed without the coordinator, and holds reads if the plan says so.
    case braced
    /// This batch serves the new release, its actions done, its caches flushed, and is healthy.
    case upgraded(batch: Int)
    /// Healthy on the new release, asked anew.
    case verified
    /// The gate is open.
    case opened
    /// The old application is stopped and surplus releases are gone.
    case retired
    /// On the way back: reads are held until the old schema is there again.
    case readsHeld
    /// On the way back: the old release is served.
    case reactivated
    /// On the way back: the new application is stopped and its release gone.
    case unstaged
}

/// A step and the phase that it belongs to; on the way back, the phase that it undoes.
public struct PlannedStep: Hashable, Sendable {
    public var phase: Phase
    public var step: Step

    public init(_ phase: Phase, _ step: Step) {
        self.phase = phase
        self.step = step
    }
}

extension Step {
    /// Whether nodes or the database may be other than before once it has begun; what has only been looked at is not undone.
    public var touches: Bool {
        switch self {
        case .nodes(.present), .database(.preflight), .approval: false
        case .nodes, .database, .hook, .bake: true
        }
    }
}

extension Step: CustomStringConvertible, LosslessStringConvertible, Codable {
    /// The stored form: `nodes:upgraded:2`, `database:migrate`, `approval:lift`, `hook:0`, `bake:1`.
    public var description: String {
        switch self {
        case .approval(let phase): "approval:\(phase.rawValue)"
        case .hook(let index): "hook:\(index)"
        case .nodes(let goal): "nodes:\(goal)"
        case .database(let kind): "database:\(kind.rawValue)"
        case .bake(let batch): "bake:\(batch)"
        }
    }

    public init?(_ description: String) {
        let parts = description.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return nil }
        switch parts[0] {
        case "approval":
            guard let phase = Phase(rawValue: parts[1]) else { return nil }
            self = .approval(phase)
        case "hook":
            guard let index = Int(parts[1]) else { return nil }
            self = .hook(index)
        case "nodes":
            guard let goal = NodeGoal(parts[1]) else { return nil }
            self = .nodes(goal)
        case "database":
            guard let kind = DatabaseTask.Kind(rawValue: parts[1]) else { return nil }
            self = .database(kind)
        case "bake":
            guard let batch = Int(parts[1]) else { return nil }
            self = .bake(batch: batch)
        default: return nil
        }
    }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let step = Step(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "no such step: \(text)"))
        }
        self = step
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension NodeGoal: CustomStringConvertible, LosslessStringConvertible {
    private static let plain: [(String, NodeGoal)] = [
        ("present", .present), ("staged", .staged), ("closed", .closed), ("drained", .drained),
        ("braced", .braced), ("verified", .verified), ("opened", .opened), ("retired", .retired),
        ("reads-held", .readsHeld), ("reactivated", .reactivated), ("unstaged", .unstaged),
    ]

    public var description: String {
        if case .upgraded(let batch) = self { return "upgraded:\(batch)" }
        return NodeGoal.plain.first { $0.1 == self }?.0 ?? ""
    }

    public init?(_ description: String) {
        if let found = NodeGoal.plain.first(where: { $0.0 == description }) {
            self = found.1
        } else if description.hasPrefix("upgraded:"), let batch = Int(description.dropFirst(9)) {
            self = .upgraded(batch: batch)
        } else {
            return nil
        }
    }
}

extension Step {
    /// What the step does, for people.
    public var title: String {
        switch self {
        case .approval(let phase): "wait for approval of \(phase)"
        case .hook(let index): "run hook \(index + 1)"
        case .nodes(let goal): goal.title
        case .database(let kind): kind.title
        case .bake(let batch): "watch batch \(batch + 1)"
        }
    }
}

extension NodeGoal {
    /// What the goal asks of a node, for people.
    public var title: String {
        switch self {
        case .present: "hear from every node"
        case .staged: "stage the release and warm it"
        case .closed: "close the gates"
        case .drained: "drain writes in flight"
        case .braced: "brace the nodes for the migration"
        case .upgraded(let batch): batch == 0 ? "upgrade the canary" : "upgrade batch \(batch + 1)"
        case .verified: "verify every node"
        case .opened: "open the gates"
        case .retired: "retire the old release"
        case .readsHeld: "hold reads"
        case .reactivated: "reactivate the old release"
        case .unstaged: "remove the new release"
        }
    }
}

extension DatabaseTask.Kind {
    /// What the task does, for people.
    public var title: String {
        switch self {
        case .preflight: "look over the database"
        case .expand: "apply the expand migrations"
        case .raiseFence: "raise the fence"
        case .census: "prove that no writer is left"
        case .migrate: "migrate the schema"
        case .lowerFence: "lower the fence"
        case .contract: "apply the contract migrations"
        case .revertMigrate: "undo the migration"
        case .revertExpand: "undo the expand migrations"
        }
    }
}
