// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

/// The facts of a run in words: the one place where an event becomes text. Watch, report and page show what it says.
///
/// Facts are put in from the first one on, in their order: what some of them say depends on the plan, and on whether anything was
/// touched before.
public struct EventWords: Sendable {
    /// What one fact says.
    public struct Sentence: Hashable, Sendable {
        /// May have several lines where it repeats what a program has said.
        public var text: String
        /// What to do next, when a person has to.
        public var next: String?
        /// Lines that belong to it, such as what was applied.
        public var details: [String] = []
        /// What was found: each is read, however many there are.
        public var findings: [Diagnostic] = []
    }

    private var plan: Plan?
    /// Whether a step has begun that changes anything: a run that turns back before that is a refused one.
    private var hasTouched = false

    public init() {}

    public mutating func sentence(of event: RunEvent) -> Sentence {
        switch event {
        case .created(let created):
            plan = PlanDocument.stored(text: created.plan, file: created.planFile)
            return Sentence(
                text: "run \(created.run): \(created.fleet) to \(created.release.name) on "
                    + "\(counted(created.nodes.count, "node")), started by \(created.by)")
        case .stepBegan(let began):
            if began.step.touches { hasTouched = true }
            let undo = began.direction == .forward ? "" : "undo "
            return Sentence(text: "\(undo)\(began.phase): \(began.step.title(in: plan))")
        case .turnedBack(let turned):
            let word = hasTouched ? "turned back" : "refused"
            return Sentence(text: "\(word): \(turned.reason)", next: turned.advice)
        case .stopped(let stopped):
            return Sentence(text: "stopped: \(stopped.reason)", next: stopped.advice)
        case .toolEnded(let ended): return EventWords.end(ended)
        case .databaseTaskEnded(let ended):
            let attempt = EventWords.title(ended.kind, ended.attempt)
            var sentence = EventWords.end(ended.result, ended.report, ended.failure)
            let colon = ended.result == .lost ? ":" : ""
            let which = EventWords.database(ended.database)
            sentence.text = "\(which): \(attempt)\(colon) \(sentence.text)"
            return sentence
        case .standbySeen(let seen): return sentence(of: seen)
        default:
            return Sentence(text: EventWords.short(event))
        }
    }

    private func sentence(of seen: StandbySeen) -> Sentence {
        let message = seen.message ?? ""
        switch seen.state {
        case .frozen: return Sentence(text: "the frozen standby answers again")
        case .trouble: return Sentence(text: message)
        case .silent, .thawed:
            return Sentence(text: message + (plan.map { "; \($0.fateOfReaders)" } ?? ""))
        }
    }

    private static func short(_ event: RunEvent) -> String {
        switch event {
        case .nodeSurveyed(let survey):
            let release = survey.active?.release.name.rawValue ?? "no release"
            let warnings = (survey.warnings ?? []).map { "; warning: \($0)" }.joined()
            return "\(survey.node) is on \(release), agent \(survey.agentVersion)\(warnings)"
        case .nodeReached(let fact): return "\(fact.node) reached"
        case .nodeFailed(let trouble): return "\(trouble.node) failed: \(trouble.reason)"
        case .nodeQuarantined(let trouble): return "\(trouble.node) quarantined: \(trouble.reason)"
        case .nodeReadmitted(let fact): return "\(fact.node) takes part again"
        case .nodeJoined(let fact): return "\(fact.node) joined; quarantined until it is upgraded"
        case .drainCutShort(let cut):
            let nodes = Listed.text(cut.nodes.map(\.rawValue), separator: ", ")
            return "the drain's time is over with writes in flight on \(nodes)"
        case .oldReleaseSeen(let seen): return late(seen)
        case .passOffered(let offered):
            return "\(offered.node) has made a pass for the migration tool"
        case .databaseTaskStarted(let fact):
            return "\(database(fact.database)): \(title(fact.kind, fact.attempt))"
        case .databaseLeftOut(let left): return "goes on without \(left.sentence)"
        case .approved(let approved): return "\(approved.phase) approved\(signed(approved.stamp))"
        case .paused(let stamp): return "paused\(signed(stamp))"
        case .resumed(let stamp): return "resumed\(signed(stamp))"
        case .aborted(let stamp): return "aborted\(signed(stamp))"
        case .retried(let stamp): return "tried again\(signed(stamp))"
        case .mended(let mended):
            let files = mended.files.map { "\($0.name) (\($0.digest.short))" }
            let names = Listed.text(files, separator: ", ")
            return "tried again with \(names)\(signed(mended.stamp))"
        case .claimed(let claimed):
            let claims = claimed.claims.map { "\($0.version) \($0.state.rawValue)" }
            let what = Listed.text(claims, separator: ", ")
            return "\(what) by hand, is looked at\(signed(claimed.stamp))"
        case .schemaAccepted(let stamp): return "the schema stays as it is\(signed(stamp))"
        case .nodeTakenOff(let taken): return "\(taken.node) is off\(signed(taken.stamp))"
        case .nodeHeardAgain(let fact): return "\(fact.node) is not off: it was heard"
        case .turnedForward(let turned): return "goes forward again\(signed(turned.stamp))"
        case .ended(let ended): return title(ended.outcome)
        case .created, .stepBegan, .turnedBack, .stopped, .toolEnded, .databaseTaskEnded,
            .standbySeen:
            return event.type
        }
    }

    /// What of the old release ran after the lift, and what to do about it.
    public static func late(_ seen: OldReleaseSeen) -> String {
        "\(seen.release) ran on \(seen.node) after the lift, and was ended: \(seen.late.description); "
            + "stop what starts it there (systemctl, supervisorctl, cron), and look at what it has written on the new schema"
    }

    /// Another coordinator leads from here on.
    public static func takeover(by epoch: Epoch) -> String {
        "another coordinator took over (epoch \(epoch.rawValue))"
    }

    /// A task of the database, and which attempt at it when that is not the first.
    public static func title(_ kind: DatabaseTask.Kind, _ attempt: Int) -> String {
        kind.title + (attempt > 1 ? ", attempt \(attempt)" : "")
    }

    /// A database by its label: `database`, or `database visits`.
    public static func database(_ label: DatabaseName?) -> String {
        "database" + (label.map { " \($0)" } ?? "")
    }

    /// How an attempt at a task of the database ended.
    public static func end(
        _ result: DatabaseTaskEnded.Result?, _ report: DatabaseReport?, _ failure: DatabaseFailure?
    ) -> Sentence {
        switch result {
        case nil:
            return Sentence(text: "under way")
        case .lost:
            return Sentence(text: "its coordinator is gone; looking at what took effect")
        case .done:
            return Sentence(
                text: "done in \((report?.duration ?? .zero).text)", details: report?.lines ?? [],
                findings: report?.warnings ?? [])
        case .failed:
            // Findings are listed beside it; a message that repeats them is left out.
            let findings = failure?.findings ?? []
            let why =
                findings.isEmpty
                ? failure?.message ?? "for an unknown reason"
                : counted(findings.count, "finding")
            return Sentence(text: "failed: \(why)", next: failure?.advice, findings: findings)
        }
    }

    /// How a run of a migration tool ended, and the last that it said.
    public static func end(_ tool: ToolEnded) -> Sentence {
        let time = tool.duration.map { " after \($0.text)" } ?? ""
        let name = "the migration tool" + (tool.database.map { " of \($0)" } ?? "")
        if tool.preview != nil {
            return Sentence(text: "\(name) has said what it would do\(time)")
        }
        let said = tool.output.split(separator: "\n").suffix(6).map(String.init)
        return Sentence(
            text: "\(name) \(EventWords.word(tool.state))\(time)", details: said)
    }

    private static func word(_ state: TaskOutcome.State) -> String {
        switch state {
        case .done, .running: "ended well"
        case .failed: "failed"
        case .notStarted: "was not started"
        case .unknown: "was interrupted"
        }
    }

    private static func title(_ outcome: Ended.Outcome) -> String {
        switch outcome {
        case .done: "done"
        case .rolledBack: "rolled back"
        case .refused: "nothing was touched"
        }
    }

    private static func signed(_ stamp: RequestStamp) -> String {
        " by \(stamp.by)" + (stamp.reason.map { ": \($0)" } ?? "")
    }
}

/// What a run says of itself, for people: status, watch and report show the same.
extension Run {
    /// Why it turned back or waits.
    public var because: String? {
        if case .stopped(let stopped) = standing { return stopped.reason }
        let reasons = [reason ?? standbyNote, reasonOfLeavingOut].compactMap { $0 }
        return reasons.isEmpty ? nil : reasons.joined(separator: "; ")
    }

    /// What to do next, when a person has to.
    public var next: String? {
        if case .stopped(let stopped) = standing { return stopped.advice }
        if state == .awaitingApproval {
            return (["go on with `sluice approve \(identifier)`"] + approvalNotes).joined(
                separator: "; ")
        }
        if state == .paused { return "go on with `sluice resume \(identifier)`" }
        let advices = [promotionAdvice ?? advice ?? adviceOfLoss, adviceOnLeftOut].compactMap { $0 }
        return advices.isEmpty ? nil : advices.joined(separator: "; ")
    }

    /// What whoever approves has to know.
    private var approvalNotes: [String] {
        let previews = plan.toolIndices.compactMap { index in
            tool(index).previewed.map {
                "\(plan.name(ofTool: index)) would do: \($0); `sluice report \(identifier)` shows it"
            }
        }
        return (hasBegun(ToolStep.self) ? [] : previews)
            + ApprovalStep(phase, index: nil).notes(plan)
    }

    /// The current step.
    public var stepTitle: String {
        isEnded ? state.rawValue : current?.definition.title(in: plan) ?? "begin"
    }

    /// The tasks that the databases are at; `nil` when they are at none.
    public var databaseTitle: String? {
        let titles = database.inFlight.map { fact in
            (fact.database.map { "\($0): " } ?? "") + EventWords.title(fact.kind, fact.attempt)
        }
        return titles.isEmpty ? nil : Listed.text(titles, separator: "; ")
    }
}
