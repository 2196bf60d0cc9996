// SPDX-License-Identifier: Apache-2.0

import UpgradeEngine
import UpgradeModel

extension ScenarioWorld {
    static func describe(_ event: RunEvent) -> String {
        switch event {
        case .created: "created"
        case .stepBegan(let began):
            "\(began.direction.rawValue) \(began.phase): \(began.step.title)\(which(began.step))"
        case .nodeSurveyed(let survey):
            "\(survey.node) was on \(survey.active?.release.name.rawValue ?? "nothing")"
        case .nodeReached(let fact): "\(fact.node) reached it"
        case .nodeFailed(let trouble): "\(trouble.node) failed: \(trouble.reason)"
        case .nodeQuarantined(let trouble): "\(trouble.node) quarantined: \(trouble.reason)"
        case .nodeReadmitted(let fact): "\(fact.node) readmitted"
        case .nodeJoined(let fact): "\(fact.node) joined"
        case .drainCutShort(let cut):
            "drain cut short on \(cut.nodes.map(\.rawValue).joined(separator: ", "))"
        case .oldReleaseSeen(let seen):
            "\(seen.release) ran on \(seen.node) after the lift: \(seen.late.description)"
        case .passOffered(let offered): "\(offered.node) made a pass for \(offered.pass.task)"
        case .toolEnded(let ended): "tool \(ended.task) \(ended.state.rawValue): \(ended.output)"
        case .databaseTaskStarted(let task):
            "\(EventWords.database(task.database)) task \(task.kind.rawValue) \(task.attempt) started"
        case .databaseTaskEnded(let ended):
            "\(EventWords.database(ended.database)) task \(ended.kind.rawValue) \(ended.attempt) \(ended.result.rawValue)"
        case .databaseLeftOut(let left): "goes on without \(left.sentence)"
        case .standbySeen(let seen):
            "standby \(seen.state.rawValue)\(seen.message.map { ": \($0)" } ?? "")"
        case .approved(let approved): "\(approved.stamp.by) approved \(approved.phase)"
        case .paused(let stamp): "\(stamp.by) paused"
        case .resumed(let stamp): "\(stamp.by) resumed"
        case .aborted(let stamp): "\(stamp.by) aborted"
        case .retried(let stamp): "\(stamp.by) retried"
        case .mended(let mended):
            "\(mended.stamp.by) brought \(mended.files.map(\.name).joined(separator: ", "))"
        case .claimed(let claimed):
            "\(claimed.stamp.by) said \(claimed.claims.map { "\($0.version) \($0.state.rawValue)" }.joined(separator: ", "))"
        case .schemaAccepted(let stamp): "\(stamp.by) accepted the schema"
        case .nodeTakenOff(let taken): "\(taken.stamp.by) said that \(taken.node) is off"
        case .nodeHeardAgain(let fact): "\(fact.node) is heard again"
        case .turnedForward(let turned): "\(turned.stamp.by) turned it forward"
        case .turnedBack(let turned): "turned back: \(turned.reason)"
        case .stopped(let stopped): "stopped: \(stopped.reason); \(stopped.advice)"
        case .ended(let ended): "ended: \(ended.outcome.rawValue)"
        }
    }

    /// Of several databases, which one.
    private static func which(_ step: Step) -> String {
        step.word.hasPrefix("database:") ? step.index.map { " (\($0))" } ?? "" : ""
    }

    static func describe(_ directive: Directive) -> String {
        var words = ["writes \(directive.writes.kind.rawValue)"]
        if directive.reads.hold != nil {
            words.append("reads hold" + (directive.reads.until.map { " until \($0)" } ?? ""))
        }
        if directive.sessions != nil { words.append("sessions hold") }
        if directive.lease.onExpiry == .keep { words.append("keep") }
        if let stage = directive.stage { words.append("stage \(name(stage))") }
        if let unstage = directive.unstage { words.append("unstage \(name(unstage))") }
        if let active = directive.active {
            words.append("active \(name(active.release)) as \(active.identity)")
        }
        if directive.service == .out { words.append("out of service") }
        for task in directive.tasks {
            let isForReader = task.release?.database != nil
            words.append(
                "\(task.kind.rawValue) \(task.name)\(isForReader ? " on the standby" : "")")
        }
        if let pass = directive.pass { words.append("pass for \(pass.task)") }
        if directive.announced != nil { words.append("announced") }
        if let health = directive.health { words.append("health \(health.identity)") }
        if let silenced = directive.silenced { words.append("silence \(silenced.name)") }
        if let replaced = directive.replaced { words.append("in place of \(replaced.name)") }
        if let vacated = directive.vacated { words.append("vacate \(name(vacated))") }
        if let keep = directive.keepReleases { words.append("keep \(keep) releases") }
        return words.joined(separator: ", ")
    }

    private static func name(_ release: ReleaseReference) -> String {
        release.name.rawValue + (release.database.map { " on the \($0.rawValue)" } ?? "")
    }
}
