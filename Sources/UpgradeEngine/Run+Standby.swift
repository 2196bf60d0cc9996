// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What has become of the standby's taking the primary's place.
public enum Promotion: Hashable, Sendable {
    /// Nothing of it has taken effect.
    case none
    /// It was begun, and nobody knows how far it came.
    case unknown
    /// The standby is promoted, and its fence is up as that of the primary: neither takes writes.
    case fenced
    case done
}

/// The frozen standby: who reads there, and whether it is the way back.
extension Run {
    /// The old release of a node as it works on the standby; `nil` where the plan freezes none.
    func reader(of node: NodeName) -> ReleaseReference? {
        guard plan.frozenStandby != nil else { return nil }
        return oldRelease(of: node)?.on(.standby)
    }

    /// Whether a node's own action takes the old release, which runs once, to the standby and back.
    var isDatabaseSwitched: Bool { plan.isDatabaseSwitched }

    /// What a node serves at the end of the way back.
    func releaseServedAgain(on node: NodeName) -> ReleaseReference? {
        isPromoting ? reader(of: node) : oldRelease(of: node)
    }

    /// Whether a node has served the old release on the standby, and has not been left behind since.
    func hasReadFromStandby(_ seat: Seat) -> Bool {
        !seat.isQuarantined && proved[.standbyServed]?.contains(seat.node) == true
    }

    /// Whether the way back is the standby's taking the primary's place.
    public var isPromoting: Bool { direction == .back && undoing.isPromoting }

    /// What the way back is made from. Once it has begun, what is being undone is no more in doubt than it was then.
    var undoing: Undoing {
        Undoing(
            plan: plan, begun: begun, schemas: Set(database.schema.keys),
            isSchemaInDoubt: isPromotionDecided ?? isSchemaOther,
            fencesKept: Set(database.leftOutBy.keys))
    }

    /// Whether the schema of the primary may be another one than the old release knows. A tool that is known to have done nothing,
    /// beside no migration file, is no reason to change the primary.
    var isSchemaOther: Bool {
        let isUnchangedByTool =
            created.migrations.isEmpty && plan.hasTool
            && plan.toolIndices.allSatisfy { tool($0)[.switch].change?.isNone == true }
        return isSchemaInDoubt && !isUnchangedByTool
    }

    /// Which server is the primary now and what is to be done with the other, for people; empty where nothing was promoted.
    var promotionNotes: [String] {
        guard database.promotion != .none else { return [] }
        let where_ = plan.frozenStandby.map { " (\($0.url))" } ?? ""
        guard database.promotion == .done else {
            return database.promotion == .fenced
                ? [
                    "the standby\(where_) is promoted behind its fence, and neither server takes writes"
                ]
                : ["whether the standby\(where_) is the primary now is not known"]
        }
        return [
            "the primary is now the server that was the standby\(where_); the nodes serve the old release there",
            "the first primary is shut for good: point everything that connects to it without Sluice (workers, cron, poolers) to the new one",
        ] + database.promotionLines
    }

    /// What a run that has turned back by promotion leaves to a person.
    var promotionAdvice: String? {
        let notes = promotionNotes
        return notes.isEmpty ? nil : Listed.text(notes, separator: "; ")
    }

    /// Why a node cannot read from a standby; `nil` where it can, or need not.
    func standbyRefusal(_ status: NodeStatus) -> String? {
        guard plan.frozenStandby != nil else { return nil }
        guard let active = status.active?.release else {
            return "it serves no release that could be started on the standby"
        }
        guard active.database == nil else {
            return
                "it serves \(active.name) on the standby, since a run was rolled back by promotion: bring it to its usual database first, "
                + "by a plan for the same release without `database` and `reads.from`, once its own settings lead to the new primary"
        }
        return nil
    }
}

extension Plan {
    /// Whether the nodes' own actions take the application, which runs once, to the standby and from there to the new release.
    var isDatabaseSwitched: Bool { frozenStandby != nil && release.version != nil }
}

extension Run {
    /// Whether the run may go forward instead depends on what the attempt that has failed may have done.
    func setbackOfPromotion(_ reason: String, _ failure: DatabaseFailure) -> [RunEvent] {
        var after = self
        after.notePromotion(.failed, failure, nil)
        return after.setback(reason, advice: failure.adviceForPeople)
    }

    mutating func notePromotion(_ ended: DatabaseTaskEnded) {
        guard ended.kind.promotes else { return }
        if ended.kind == .promoteBehindFence, ended.result == .done {
            database.isStandbyFenced = true
            database.promotion = .fenced
        } else {
            notePromotion(ended.result, ended.failure, ended.report)
        }
    }

    private mutating func notePromotion(
        _ result: DatabaseTaskEnded.Result, _ failure: DatabaseFailure?, _ report: DatabaseReport?
    ) {
        switch result {
        case .done:
            database.promotion = .done
            database.promotionLines = report?.lines ?? []
        case .failed where failure?.effect == DatabaseFailure.PossibleEffect.none:
            // An earlier attempt may have taken effect all the same.
            if !database.wasPromotionUnknown {
                database.promotion = database.isStandbyFenced ? .fenced : .none
            }
        case .failed, .lost:
            database.wasPromotionUnknown = true
        }
    }
}

extension DatabaseTask.Kind {
    /// Whether it may make the standby a primary.
    var promotes: Bool { self == .promoteBehindFence || self == .promoteStandby }
}
