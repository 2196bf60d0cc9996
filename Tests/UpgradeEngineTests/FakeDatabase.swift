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
    /// The application's own tool.
    var tool = FakeToolState()

    static let proof = CensusProof(
        transaction: "7", fenceLSN: "0/7", stored: ScenarioWorld.new.manifest, ended: [])

    /// Which database of which server it is.
    var place: String?

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
                    code: "sql", "0003_split_name.up.sql: relation does not exist",
                    advice: advice, effect: effect, findings: findings))
        }
        switch task.kind {
        case .preflight:
            return .done(
                report {
                    $0.schema = ScenarioWorld.old.manifest
                    $0.place = place
                })
        case .census:
            var proof = Self.proof
            if let place { proof.fenceLSN = place }
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
        case .lowerFence: isFenced = false
        case .contract:
            isContracted = true
            return .done(tool.late.keep())
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
        case .freezeStandby, .feedStandby, .promoteStandby:
            return .failed(DatabaseFailure(code: "standby", "it has no standby"))
        }
        return .done(DatabaseReport())
    }
}
