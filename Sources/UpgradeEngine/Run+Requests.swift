// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What a person asks of a run.
extension Run {
    func requestFacts(_ verb: RequestVerb, _ stamp: RequestStamp) throws(Refusal)
        -> [RunEvent]
    {
        if requests.contains(stamp.request) { return [] }
        if isEnded { throw .ended(state) }
        switch verb {
        case .pause:
            switch standing {
            case .paused: throw .alreadyPaused
            case .active: return [.paused(stamp)]
            case .stopped, .ended: throw .notRunning
            }
        case .resume:
            guard standing == .paused else { throw .notPaused }
            return [.resumed(stamp)]
        case .approve:
            guard let phase = phaseToApprove else { throw .nothingToApprove }
            return [.approved(Approved(phase: phase, stamp: stamp))]
        case .retry:
            guard case .stopped = standing, current != nil else { throw .nothingToRetry }
            return [.retried(stamp)] + beginAgain
        case .resolve:
            throw .nothingToResolve
        case .abort:
            try checkMayTurnBack()
            let words = "aborted by \(stamp.by)" + (stamp.reason.map { ": \($0)" } ?? "")
            let policy: RunEvent =
                (plan.onFailure == .rollback || phase == .preflight) && !isWayBackBlocked
                ? .turnedBack(TurnedBack(reason: words, stamp: nil))
                : .stopped(Stopped(reason: words, advice: waysOut()))
            return [.aborted(stamp), policy]
        case .rollback:
            try checkMayTurnBack()
            let words = "rolled back by \(stamp.by)" + (stamp.reason.map { ": \($0)" } ?? "")
            return [.turnedBack(TurnedBack(reason: words, stamp: stamp))]
        }
    }

    /// The current step once more.
    var beginAgain: [RunEvent] {
        guard let current else { return [] }
        return begins(current.definition.stepToRetry(in: self), or: current)
    }

    private func checkMayTurnBack() throws(Refusal) {
        if direction == .back { throw .alreadyTurningBack }
        if isPastPointOfNoReturn { throw .pastPointOfNoReturn }
    }
}
