// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension RunReport {
    /// A report on its way, with the run beside it: the run says what the engine made of the same facts.
    struct Fold {
        private var report: RunReport
        /// `nil` when this program does not understand the plan any more; the report then has no batches and no window.
        private var run: Run?
        private var epoch: Epoch
        private var current: Step? { report.steps.last?.step }
        private var phase: Phase { report.steps.last?.phase ?? .preflight }
        /// The last fact that belongs to the current step.
        private var lastFact: Instant?
        /// Where each node is in the report, which has several facts of each.
        private var places: [NodeName: Int]

        init(_ report: RunReport, run: Run?, epoch: Epoch) {
            self.report = report
            self.run = run
            self.epoch = epoch
            places = Dictionary(
                report.nodes.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { $1 })
            for (index, batch) in (run?.batches ?? []).enumerated() {
                for name in batch { update(name) { $0.batch = index + 1 } }
            }
        }

        mutating func take(_ recorded: RecordedEvent) {
            if recorded.epoch != epoch {
                epoch = recorded.epoch
                trouble(
                    .takeover, at: recorded.at,
                    "another coordinator took over (epoch \(epoch.rawValue))")
            }
            report.lastAt = recorded.at
            take(recorded.event, at: recorded.at)
            run?.apply(recorded)
        }

        func finished() -> RunReport {
            var report = report
            report.windowOpened = run?.windowOpened
            report.windowClosed = run?.windowClosed
            if let run { report.state = run.state }
            if let paused = run?.stillPaused, !paused.isEmpty { report.stillPaused = paused }
            report.nodes.sort { ($0.batch ?? .max, $0.name) < ($1.batch ?? .max, $1.name) }
            return report
        }

        private mutating func take(_ event: RunEvent, at instant: Instant) {
            switch event {
            case .created:
                break
            case .stepBegan(let began):
                begin(began, at: instant)
            case .nodeSurveyed(let survey):
                update(survey.node) { $0.before = survey.active?.release.name }
            case .nodeReached(let fact):
                lastFact = instant
                milestone(fact.node, .reached, at: instant)
            case .nodeFailed(let fact):
                milestone(fact.node, .failed, at: instant, fact.reason)
                trouble(.failed, at: instant, node: fact.node, fact.reason)
            case .nodeQuarantined(let fact):
                lastFact = instant
                milestone(fact.node, .quarantined, at: instant, fact.reason)
                update(fact.node) { $0.quarantine = fact.reason }
                trouble(.quarantined, at: instant, node: fact.node, fact.reason)
            case .nodeReadmitted(let fact):
                milestone(fact.node, .readmitted, at: instant)
                update(fact.node) { $0.quarantine = nil }
            case .nodeJoined(let fact):
                join(fact.node, at: instant)
            case .drainCutShort(let cut):
                lastFact = instant
                let names = cut.nodes.map(\.rawValue).joined(separator: ", ")
                trouble(
                    .cutShort, at: instant,
                    "the drain's time was over with writes in flight on \(names)")
            case .databaseTaskStarted(let fact):
                report.database.append(
                    DatabaseEntry(kind: fact.kind, attempt: fact.attempt, began: instant))
            case .databaseTaskEnded(let ended):
                end(ended, at: instant)
            case .approved(let approved):
                lastFact = instant
                request(.approve, approved.mark, at: instant)
            case .paused(let mark): request(.pause, mark, at: instant)
            case .resumed(let mark): request(.resume, mark, at: instant)
            case .aborted(let mark): request(.abort, mark, at: instant)
            case .retried(let mark):
                request(.retry, mark, at: instant)
                report.reason = nil
                report.advice = nil
            case .turnedBack(let turned):
                turned.mark.map { request(.rollback, $0, at: instant) }
                report.reason = turned.reason
                report.advice = turned.advice
                trouble(.turnedBack, at: instant, turned.reason)
            case .stopped(let stopped):
                report.reason = stopped.reason
                report.advice = stopped.advice
                trouble(.stopped, at: instant, stopped.reason)
            case .ended:
                completeStep(by: instant)
                report.endedAt = instant
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
                    title: began.step.title, began: instant))
        }

        private mutating func completeStep(by instant: Instant) {
            guard let index = report.steps.indices.last else { return }
            report.steps[index].ended = lastFact ?? instant
        }

        private mutating func end(_ ended: DatabaseTaskEnded, at instant: Instant) {
            if ended.result == .done { lastFact = instant }
            if let proof = ended.report?.census { report.census = proof }
            switch ended.result {
            case .done: break
            case .failed:
                let why = ended.failure?.message ?? "for an unknown reason"
                trouble(.databaseFailed, at: instant, "\(ended.kind.title) failed: \(why)")
            case .lost:
                trouble(
                    .databaseLost, at: instant,
                    "\(ended.kind.title): the coordinator went away, and the next attempt looks at what took effect"
                )
            }
            guard
                let index = report.database.lastIndex(where: {
                    $0.kind == ended.kind && $0.attempt == ended.attempt
                })
            else { return }
            report.database[index].ended = instant
            report.database[index].result = ended.result
            report.database[index].report = ended.report
            report.database[index].failure = ended.failure
        }

        private mutating func join(_ node: NodeName, at instant: Instant) {
            if places[node] == nil {
                places[node] = report.nodes.count
                report.nodes.append(NodeEntry(name: node, milestones: []))
            }
            update(node) { $0.quarantine = Run.Member.joined }
            milestone(node, .joined, at: instant)
            trouble(.joined, at: instant, node: node, "appeared during the run")
        }

        private mutating func milestone(
            _ node: NodeName, _ kind: Milestone.Kind, at instant: Instant, _ reason: String? = nil
        ) {
            let step = current
            update(node) {
                $0.milestones.append(Milestone(at: instant, kind: kind, step: step, reason: reason))
            }
        }

        private mutating func request(_ verb: RequestVerb, _ mark: RequestMark, at instant: Instant)
        {
            report.requests.append(
                RequestEntry(
                    at: instant, verb: verb, by: mark.by, reason: mark.reason, phase: phase))
        }

        private mutating func trouble(
            _ kind: TroubleEntry.Kind, at instant: Instant, node: NodeName? = nil, _ message: String
        ) {
            report.troubles.append(
                TroubleEntry(at: instant, kind: kind, node: node, message: message))
        }

        private mutating func update(_ node: NodeName, _ change: (inout NodeEntry) -> Void) {
            guard let index = places[node] else { return }
            change(&report.nodes[index])
        }
    }
}
