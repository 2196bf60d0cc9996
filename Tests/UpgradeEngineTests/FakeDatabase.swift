// SPDX-License-Identifier: Apache-2.0

import UpgradeEngine
import UpgradeModel

/// A database that does what it is asked, except for what a scenario makes go wrong.
struct FakeDatabase {
    /// Kinds that fail, and how often.
    var failing: [DatabaseTask.Kind: Int] = [:]
    /// Kinds that never end by themselves.
    var hanging: Set<DatabaseTask.Kind> = []
    /// What a failure advises, and what it has found.
    var advice: String?
    var effect = DatabaseFailure.PossibleEffect.none
    var code = "sql"
    var findings: [Diagnostic] = []
    /// Every task that was begun, as it was given.
    private(set) var performed: [DatabaseTask] = []
    /// How many transactions the fence finds under way; `nil`: it does not say.
    var older: Int?
    private(set) var isFenced = false
    private(set) var isMigrated = false
    private(set) var isExpanded = false
    private(set) var isContracted = false
    private(set) var migrations = 0
    /// Its standby; `nil`: it has none.
    var standby: FakeStandby?
    /// Nobody is let in any more, since the standby has taken its place.
    private(set) var isShut = false
    /// Who looks after both servers leaves them alone.
    private(set) var isManagerPaused = false
    /// The application's own tool.
    var tool = FakeToolState()

    static let proof = CensusProof(
        transaction: "7", fenceLSN: "0/7", stored: ScenarioWorld.new.manifest, ended: [])

    /// Who could write before the window and in it, and what is found of them after the lift.
    var sessions: WindowSessions?
    var lateSessions: [Diagnostic] = []
    /// What its fence refuses while it is up.
    var refused: RefusedTables?

    /// Which database of which server it is.
    var place: String?

    /// An earlier run has left it out: its fence is up, for a release that does not know its schema.
    private(set) var leftOutBy: RunIdentifier?
    /// Whoever comes later may take its fence over.
    private(set) var isKept = false

    mutating func leaveOut(by run: RunIdentifier) {
        leftOutBy = run
        isFenced = true
        isKept = true
        isExpanded = true
    }

    /// What of the schema is not as before once everything is undone.
    var schemaChanges: [String] = []

    private func report(_ change: (inout DatabaseReport) -> Void) -> DatabaseReport {
        var report = DatabaseReport()
        change(&report)
        return report
    }

    mutating func perform(_ task: DatabaseTask) -> DatabaseOutcome? {
        performed.append(task)
        if hanging.contains(task.kind) { return nil }
        if let left = failing[task.kind], left > 0 {
            failing[task.kind] = left - 1
            return .failed(
                DatabaseFailure(
                    code: code, "0003_split_name.up.sql: relation does not exist",
                    advice: advice, effect: effect, findings: findings))
        }
        if let failure = failureWithoutStandby(task) { return .failed(failure) }
        if task.isPromoted == true { return performOnStandby(task) }
        switch task.kind {
        case .preflight:
            return .done(
                report {
                    $0.schema = ScenarioWorld.old.manifest
                    $0.place = place
                    if isFenced, isKept { $0.leftOutBy = leftOutBy }
                    $0.sessions = sessions.map { WindowSessions(holders: $0.holders) }
                })
        case .census:
            var proof = Self.proof
            if let place { proof.fenceLSN = place }
            standby?.hasAll = true
            return .done(DatabaseReport(census: proof))
        case .expand:
            isExpanded = true
            return .done(tool.early.keep())
        case .raiseFence:
            isFenced = true
            return .done(report { $0.older = older })
        case .migrate:
            if !isMigrated { migrations += 1 }
            isMigrated = true
        case .leaveOut:
            guard isFenced, tool.pass == nil else {
                return .failed(DatabaseFailure(code: "fence-down", "the fence is not up"))
            }
            isKept = true
        case .lowerFence:
            isFenced = false
            isKept = false
            standby?.hasAll = false
            return .done(
                report {
                    $0.sessions = sessions
                    $0.refused = refused
                })
        case .contract:
            isContracted = true
            var report = tool.late.keep()
            report.warnings = lateSessions
            return .done(report)
        case .readPreview:
            return .done(DatabaseReport(lines: ["1 statement", task.preview ?? "nothing"]))
        case .judgeExpand, .settleExpand, .judgeRevertExpand: return .done(tool.early.judge())
        case .judgeContract: return .done(tool.late.judge())
        case .revertMigrate:
            if isMigrated { migrations -= 1 }
            isMigrated = false
        case .openPass, .openRevertPass: return .done(tool.open(task.pass))
        case .closePass, .settlePass, .closeRevertPass: return .done(tool.close())
        case .compareSchema:
            return .done(report { $0.schemaChanges = schemaChanges })
        case .revertExpand:
            isExpanded = false
            return .done(report { $0.schemaChanges = schemaChanges })
        case .freezeStandby:
            if standby != nil {
                standby = FakeStandby(
                    isFrozen: true, hasAll: true, isMigrated: isMigratedAnyhow,
                    isExpanded: isExpanded)
            }
        case .feedStandby: standby?.isFrozen = false
        case .pauseManager: isManagerPaused = true
        case .resumeManager: isManagerPaused = false
        case .promoteBehindFence: standby?.isFenced = true
        case .promoteStandby:
            isShut = true
            standby?.isPrimary = true
            return .done(DatabaseReport(lines: ["pg_rewind makes the first server a standby"]))
        }
        return .done(DatabaseReport())
    }

    /// By files or by the application's own tool.
    var isMigratedAnyhow: Bool { isMigrated || tool.level > 0 }

    /// Whether whoever reads from the standby finds the new schema there.
    var isStandbyMigrated: Bool {
        guard let standby, standby.isFrozen || standby.isPrimary else { return isMigratedAnyhow }
        return standby.isMigrated
    }
}

extension FakeDatabase {
    /// What needs the standby fails while that does not answer.
    private func failureWithoutStandby(_ task: DatabaseTask) -> DatabaseFailure? {
        guard let standby, standby.isLost else { return nil }
        let isNeeded =
            switch task.kind {
            case .freezeStandby, .feedStandby, .promoteBehindFence, .promoteStandby, .migrate: true
            case .openPass: task.attempt == 1
            default: task.isPromoted == true
            }
        return isNeeded
            ? DatabaseFailure(code: "standby-unreachable", "the standby does not answer") : nil
    }

    /// What a task does once the standby is the primary.
    private mutating func performOnStandby(_ task: DatabaseTask) -> DatabaseOutcome {
        var report = DatabaseReport()
        switch task.kind {
        case .revertExpand:
            standby?.isExpanded = false
            report.schemaChanges = schemaChanges
        case .compareSchema: report.schemaChanges = schemaChanges
        case .resumeManager: isManagerPaused = false
        case .promoteStandby: break
        default: return .failed(DatabaseFailure(code: "test", "not for a standby"))
        }
        return .done(report)
    }
}

/// A standby that follows, is cut off, or is the primary.
struct FakeStandby {
    var isFrozen = false
    /// Nobody who reads there misses what they have written.
    var hasAll = false
    /// It takes writes.
    var isPrimary = false
    /// Promoted, and takes none yet.
    var isFenced = false
    /// It does not answer.
    var isLost = false
    /// What it shows while it is cut off.
    var isMigrated = false
    var isExpanded = false
}
