// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What a migration tool does when it is run.
enum ToolBehaviour {
    case done
    /// It fails before it has changed anything.
    case failsUnchanged
    case failsPartly
    /// It has done a part, and never ends.
    case hangs
    /// It has done everything, and nobody saw it end.
    case interrupted

    /// `nil`: it does not end.
    var state: TaskOutcome.State? {
        switch self {
        case .done: .done
        case .failsUnchanged, .failsPartly: .failed
        case .interrupted: .unknown
        case .hangs: nil
        }
    }
}

/// A run of a tool that a node has begun.
struct ToolBegun {
    var task: NodeTask
    var behaviour: ToolBehaviour
    var digest: Digest
}

extension PassOffer {
    /// What a test's node says: another digest for each run of a tool.
    init(test goal: PassGoal) {
        self.init(task: goal.task, digest: .test(goal.task))
    }
}

extension Digest {
    static func test(_ task: TaskIdentity) -> Digest {
        let bytes = Array(task.rawValue.utf8)
        return Digest(bytes: (0..<32).map { bytes[$0 % bytes.count] &+ UInt8($0) ^ bytes.last! })
    }
}

/// What a database knows of the application's own migration tool.
struct FakeToolState {
    /// How far the tool's work is: 0 not begun, 1 a part, 2 all of it.
    var level = 0
    private(set) var pass: Digest?
    private(set) var runs = 0
    private var before: Int?
    /// Whether somebody has looked at what the last run has done.
    private var isJudged = true

    mutating func open(_ digest: Digest?) -> DatabaseReport {
        before = before ?? level
        pass = digest
        return DatabaseReport(ledger: ["shelf.0001_initial"])
    }

    mutating func close() -> DatabaseReport {
        pass = nil
        isJudged = true
        let added = (0..<max(0, level - (before ?? level))).map { "shelf.000\($0 + 2)" }
        return DatabaseReport(
            change: ToolChange(isSchemaChanged: !added.isEmpty, added: added, removed: []))
    }

    /// - Returns: what must not be.
    mutating func run(_ begun: ToolBegun, undoes: Bool) -> String? {
        guard pass == begun.digest else { return "\(begun.task.name) runs without its pass" }
        if undoes {
            switch begun.behaviour {
            case .done, .interrupted: level = before ?? 0
            case .failsPartly, .hangs: level = min(level, 1)
            case .failsUnchanged: break
            }
            return nil
        }
        runs += 1
        defer { isJudged = false }
        switch begun.behaviour {
        case .done, .interrupted: level = 2
        case .failsPartly, .hangs: level = max(level, 1)
        case .failsUnchanged: break
        }
        return isJudged ? nil : "\(begun.task.name) runs again before anybody has looked"
    }

    /// A person puts the database back.
    mutating func restore() {
        level = before ?? 0
        early.restore()
    }

    /// What it does before the window and after the lift.
    var early = FakeToolPart()
    var late = FakeToolPart()
}

/// What a tool does where no fence is up.
struct FakeToolPart {
    /// As in ``FakeToolState``.
    var level = 0
    private(set) var runs = 0
    private var before: Int?
    private var isJudged = true

    /// - Returns: where its ledger stands.
    mutating func keep() -> DatabaseReport {
        before = before ?? level
        return DatabaseReport(ledger: ["shelf.0001_initial"])
    }

    mutating func judge() -> DatabaseReport {
        isJudged = true
        let added = (0..<max(0, level - (before ?? level))).map { "shelf.000\($0 + 2)" }
        return DatabaseReport(
            change: ToolChange(isSchemaChanged: !added.isEmpty, added: added, removed: []))
    }

    /// - Returns: what must not be.
    mutating func run(_ behaviour: ToolBehaviour) -> String? {
        runs += 1
        defer { isJudged = false }
        switch behaviour {
        case .done, .interrupted: level = 2
        case .failsPartly, .hangs: level = max(level, 1)
        case .failsUnchanged: break
        }
        if before == nil { return "runs before anybody has looked" }
        return isJudged ? nil : "runs again before anybody has looked"
    }

    mutating func undo(_ behaviour: ToolBehaviour) {
        switch behaviour {
        case .done, .interrupted: level = before ?? 0
        case .failsPartly, .hangs: level = min(level, 1)
        case .failsUnchanged: break
        }
    }

    mutating func restore() { level = before ?? 0 }
}
