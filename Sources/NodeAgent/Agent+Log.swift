// SPDX-License-Identifier: Apache-2.0

import Logging
import NodeEngine
import UpgradeModel

/// What has come of a piece of work, for the log.
extension Agent {
    /// A silent release is looked at every few seconds; only what is new is worth a line.
    private func log(_ goal: SilenceGoal, _ result: SilenceResult) {
        let before = engine.preview().silenced
        if goal.state == .ended, before?.state == .silent, !result.running.isEmpty {
            let examples = result.running.prefix(LateProcesses.mostExamples)
            logger.warning(
                "something of the old release \(goal.release.title) ran after the lift, and was ended: \(examples.joined(separator: ", ")); stop what starts it"
            )
        }
        if let problem = result.problem {
            logger.error("\(goal.release.title) is not \(goal.state.rawValue): \(problem)")
        } else if before?.state != .silent {
            logger.notice(
                "the old release \(goal.release.title) is \(goal.state.rawValue): \(result.frozen) processes frozen, \(result.cut) requests cut"
            )
        } else if goal.state == .frozen, let before, result.frozen > before.frozen {
            logger.warning(
                "something has started \(goal.release.title) again; \(result.frozen) processes of it are frozen now"
            )
        }
    }

    func log(_ work: NodeWork, _ result: WorkResult) {
        switch (work, result) {
        case (_, .failed(let message)): logger.error("\(work.phrase) failed: \(message)")
        case (_, .retryable(let message)):
            logger.notice("\(work.phrase) is tried again: \(message)")
        case (_, .task(let outcome)):
            logger.log(
                level: outcome.state == .done ? .info : .error,
                "\(work.phrase): \(outcome.state.rawValue)\(outcome.state == .done ? "" : ": \(outcome.output)")"
            )
        case (_, .probed(let isGood, let detail)):
            logger.log(level: isGood ? .info : .debug, "\(work.phrase): \(detail)")
        case (.silence(let goal), .silenced(let result)): log(goal, result)
        case (_, .silenced), (_, .done): logger.info("\(work.phrase): done")
        }
    }
}

extension NodeWork {
    /// For the log.
    fileprivate var phrase: String {
        switch self {
        case .stage(let release): "stage \(release.title)"
        case .activate(let plan):
            "activate \(plan.release.title) as generation \(plan.generation.rawValue)"
        case .run(let task): "\(task.kind.rawValue) \(task.name) (\(task.identity))"
        case .resolve(let task):
            "find out about \(task.kind.rawValue) \(task.name) (\(task.identity))"
        case .probe(let goal): "health \(goal.check)"
        case .silence(let goal): "\(goal.release.title) \(goal.state.rawValue)"
        case .unstage(let release): "unstage \(release.title)"
        case .prune(let keep): "prune to \(keep) releases"
        }
    }
}
