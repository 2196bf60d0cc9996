// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What a person asks of a run.
extension Run {
    func requestFacts(_ verb: RequestVerb, _ mark: RequestMark) throws(Refusal)
        -> [RunEvent]
    {
        if requests.contains(mark.request) { return [] }
        if isEnded { throw .ended(state) }
        switch verb {
        case .pause:
            switch standing {
            case .paused: throw .alreadyPaused
            case .active: return [.paused(mark)]
            case .stopped, .ended: throw .notRunning
            }
        case .resume:
            guard standing == .paused else { throw .notPaused }
            return [.resumed(mark)]
        case .approve:
            guard let phase = phaseToApprove else { throw .nothingToApprove }
            return [.approved(Approved(phase: phase, mark: mark))]
        case .retry:
            guard case .stopped = standing, current != nil else { throw .nothingToRetry }
            return [.retried(mark)] + beginAgain
        case .resolve:
            throw .nothingToResolve
        case .abort:
            try checkMayTurnBack()
            let words = "aborted by \(mark.by)" + (mark.reason.map { ": \($0)" } ?? "")
            let policy: RunEvent =
                (plan.onFailure == .rollback || phase == .preflight) && !isWayBackBlocked
                ? .turnedBack(TurnedBack(reason: words, mark: nil))
                : .stopped(Stopped(reason: words, advice: waysOut()))
            return [.aborted(mark), policy]
        case .rollback:
            try checkMayTurnBack()
            let words = "rolled back by \(mark.by)" + (mark.reason.map { ": \($0)" } ?? "")
            return [.turnedBack(TurnedBack(reason: words, mark: mark))]
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
