// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension RunReport {
    /// A report on its way: the run says what became of everything, and the report adds when.
    struct Fold {
        private var report: RunReport
        /// `nil` when this program does not understand the plan any more; what only the run knows is missing then.
        private var run: Run?
        private var words = EventWords()
        private var epoch: Epoch
        private var current: Step? { report.steps.last?.step }
        /// The last fact that belongs to the current step.
        private var lastFact: Instant?
        /// Where each node is in the report, which has several facts of each.
        private var nodeIndices: [NodeName: Int]

        init(_ report: RunReport, of created: RunCreated, at instant: Instant, epoch: Epoch) {
            self.report = report
            self.epoch = epoch
            run = Run(created, at: instant)
            _ = words.sentence(of: .created(created))
            nodeIndices = Dictionary(
                report.nodes.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { $1 })
        }

        mutating func add(_ recorded: RecordedEvent) {
            let instant = recorded.at
            if recorded.epoch != epoch {
                epoch = recorded.epoch
                report.troubles.append(
                    TroubleEntry(
                        at: instant, kind: .takeover, message: EventWords.takeover(by: epoch)))
            }
            run?.apply(recorded)
            let sentence = words.sentence(of: recorded.event).text
            if let trouble = TroubleEntry(recorded, sentence) { report.troubles.append(trouble) }
            if let request = RequestEntry(recorded, sentence, in: phase) {
                report.requests.append(request)
            }
            note(recorded.event, at: instant)
            report.lastAt = instant
        }

        private var phase: Phase { report.steps.last?.phase ?? .preflight }

        func finished() -> RunReport {
            var report = report
            if let run { report.read(run) }
            report.nodes.sort { ($0.batch ?? .max, $0.name) < ($1.batch ?? .max, $1.name) }
            return report
        }

        /// When it was.
        private mutating func note(_ event: RunEvent, at instant: Instant) {
            switch event {
            case .stepBegan(let began): begin(began, at: instant)
            case .nodeSurveyed(let survey): update(survey.node) { $0.warnings = survey.warnings }
            case .nodeReached(let fact):
                lastFact = instant
                milestone(fact.node, .reached, at: instant)
                if let figures = fact.gate { update(fact.node) { $0.gate = figures } }
                if let cut = fact.cut { update(fact.node) { $0.cut = cut } }
            case .nodeFailed(let fact): milestone(fact.node, .failed, at: instant, fact.reason)
            case .nodeQuarantined(let fact):
                lastFact = instant
                milestone(fact.node, .quarantined, at: instant, fact.reason)
            case .nodeReadmitted(let fact): milestone(fact.node, .readmitted, at: instant)
            case .nodeJoined(let fact): milestone(fact.node, .joined, at: instant)
            case .drainCutShort, .approved: lastFact = instant
            case .passOffered: lastFact = instant
            case .oldReleaseSeen: break
            case .toolEnded(let ended):
                lastFact = instant
                let direction = report.steps.last?.direction ?? .forward
                report.tools =
                    (report.tools ?? []) + [
                        ToolEntry(
                            direction: direction, at: instant, ended: ended.withoutPreview,
                            phase: phase)
                    ]
            case .databaseTaskStarted(let fact):
                report.database.append(
                    DatabaseEntry(
                        kind: fact.kind, attempt: fact.attempt, began: instant,
                        database: fact.database))
            case .databaseTaskEnded(let ended): end(ended, at: instant)
            case .databaseLeftOut: lastFact = instant
            case .standbySeen: break
            case .ended:
                completeStep(by: instant)
                report.endedAt = instant
            case .created, .paused, .resumed, .aborted, .retried, .mended,
                .claimed, .nodeTakenOff, .nodeHeardAgain, .schemaAccepted, .turnedForward,
                .turnedBack, .stopped:
                break
            }
        }

        private mutating func begin(_ began: StepBegan, at instant: Instant) {
            // A step that is turned away from, or tried again, was not completed.
            let last = report.steps.last
            let follows = last?.direction == began.direction && last?.step != began.step
            if follows { completeStep(by: instant) }
            lastFact = nil
            report.steps.append(
                StepEntry(
                    direction: began.direction, phase: began.phase, step: began.step,
                    title: began.step.title(in: run?.plan), began: instant))
        }

        private mutating func completeStep(by instant: Instant) {
            guard let index = report.steps.indices.last else { return }
            report.steps[index].ended = lastFact ?? instant
        }

        private mutating func end(_ ended: DatabaseTaskEnded, at instant: Instant) {
            if ended.result == .done { lastFact = instant }
            guard
                let index = report.database.lastIndex(where: {
                    $0.kind == ended.kind && $0.attempt == ended.attempt
                        && $0.database == ended.database
                })
            else { return }
            report.database[index].ended = instant
            report.database[index].result = ended.result
            report.database[index].report = ended.report
            report.database[index].failure = ended.failure
        }

        private mutating func milestone(
            _ node: NodeName, _ kind: Milestone.Kind, at instant: Instant, _ reason: String? = nil
        ) {
            if nodeIndices[node] == nil {
                nodeIndices[node] = report.nodes.count
                report.nodes.append(NodeEntry(name: node, milestones: []))
            }
            let step = current
            update(node) {
                $0.milestones.append(
                    Milestone(at: instant, kind: kind, step: step, reason: reason))
            }
        }

        private mutating func update(_ node: NodeName, _ change: (inout NodeEntry) -> Void) {
            guard let index = nodeIndices[node] else { return }
            change(&report.nodes[index])
        }
    }

    /// What the run itself knows.
    fileprivate mutating func read(_ run: Run) {
        state = run.state
        reason = run.because
        advice = run.next
        windowOpened = run.windowOpened
        windowClosed = run.windowClosed
        census = run.database.census[nil]
        schemaChanges = run.schemaChanges.isEmpty ? nil : run.schemaChanges
        refusedTables = run.refusedTables.isEmpty ? nil : run.refusedTables
        stillPaused = run.stillPaused.isEmpty ? nil : run.stillPaused
        leftOut = run.databasesLeftOut.isEmpty ? nil : run.databasesLeftOut
        for index in nodes.indices {
            guard let member = run.members[nodes[index].name] else { continue }
            nodes[index].batch = member.batch.map { $0 + 1 }
            nodes[index].before = member.surveyed?.release.name
            nodes[index].quarantine = member.quarantine
        }
    }
}

extension RunReport.TroubleEntry {
    /// - Returns: `nil` for a fact that is as planned.
    fileprivate init?(_ recorded: RecordedEvent, _ sentence: String) {
        var node: NodeName?
        switch recorded.event {
        case .nodeFailed(let fact):
            kind = .failed
            node = fact.node
        case .nodeQuarantined(let fact):
            kind = .quarantined
            node = fact.node
        case .nodeJoined(let fact):
            kind = .joined
            node = fact.node
        case .drainCutShort: kind = .cutShort
        case .oldReleaseSeen(let seen):
            kind = .oldRelease
            node = seen.node
        case .databaseLeftOut: kind = .databaseLeftOut
        case .standbySeen: kind = .standby
        case .turnedBack: kind = .turnedBack
        case .stopped: kind = .stopped
        case .databaseTaskEnded(let ended):
            switch ended.result {
            case .done: return nil
            case .failed: kind = .databaseFailed
            case .lost: kind = .databaseLost
            }
        default: return nil
        }
        at = recorded.at
        self.node = node
        message = sentence
    }
}

extension RunReport.RequestEntry {
    /// - Returns: `nil` for a fact that no person asked for.
    fileprivate init?(_ recorded: RecordedEvent, _ sentence: String, in phase: Phase) {
        guard let (verb, stamp) = recorded.event.request else { return nil }
        self.init(
            at: recorded.at, verb: verb, by: stamp.by, reason: stamp.reason, phase: phase,
            message: sentence)
    }
}

extension ToolEnded {
    /// The task that has read the preview has all of it.
    fileprivate var withoutPreview: ToolEnded {
        var copy = self
        copy.preview = preview.map { _ in "" }
        return copy
    }
}

extension RunEvent {
    /// What a person asked for; `nil` for everything else.
    var request: (verb: RequestVerb, stamp: RequestStamp)? {
        switch self {
        case .approved(let approved): (.approve, approved.stamp)
        case .paused(let stamp): (.pause, stamp)
        case .resumed(let stamp): (.resume, stamp)
        case .aborted(let stamp): (.abort, stamp)
        case .retried(let stamp): (.retry, stamp)
        case .mended(let mended): (.retry, mended.stamp)
        case .turnedForward(let turned): (.retry, turned.stamp)
        case .claimed(let claimed): (.resolve, claimed.stamp)
        case .nodeTakenOff(let taken): (.resolve, taken.stamp)
        case .schemaAccepted(let stamp): (.resolve, stamp)
        case .turnedBack(let turned): turned.stamp.map { (.rollback, $0) }
        default: nil
        }
    }
}
