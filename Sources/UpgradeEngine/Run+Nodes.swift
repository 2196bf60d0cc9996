// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What follows from what nodes say, and from their silence.
extension Run {
    /// What the latest status of a node leads to, if it was made under its present directive.
    func statusFacts(
        _ node: NodeName, _ observations: Observations, at now: Instant
    ) -> [RunEvent] {
        guard let seat = seat(of: node), let status = observations.current(node) else { return [] }
        if seat.isQuarantined, meetsRunTarget(node, status) {
            return [.nodeReadmitted(NodeFact(node: node))]
        }
        guard let current, !isEnded, current.pending.contains(node) else { return [] }
        switch current.definition.judge(status, of: seat, in: self) {
        case .notYet:
            return []
        case .reached:
            let figures = current.step == .opened ? status.gate.figures : nil
            let cut = current.step == .silenced ? status.silenced?.cut : nil
            let isFrozen = [.silenced, .halted].contains(current.step)
            return current.definition.facts(status, of: seat, in: self) + [
                .nodeReached(
                    NodeFact(
                        node: node, gate: figures, cut: cut == 0 ? nil : cut,
                        connections: isFrozen ? status.silenced?.connections : nil))
            ]
        case .failed(let reason):
            return failure(of: node, reason, isFit: true, observations, at: now)
        case .unfit(let reason):
            return failure(of: node, reason, isFit: false, observations, at: now)
        }
    }

    /// What of the old release ran on a node after the lift. A thing that comes again and again is stored each time that there are
    /// twice as many.
    func lateFacts(_ node: NodeName, _ observations: Observations) -> [RunEvent] {
        guard isPastPointOfNoReturn, !isEnded, let silence = observations[node]?.status.silenced,
            let release = silence.release, release == releaseToSilence(on: node),
            let late = silence.late, late.count >= max(1, 2 * (seenLate[node] ?? 0))
        else { return [] }
        return [
            .oldReleaseSeen(OldReleaseSeen(node: node, release: release.name, late: late))
        ]
    }

    /// Which limits of a node the plan's held requests would meet, and where its gate was not tried; `nil` for none.
    func warnings(_ status: NodeStatus) -> [String]? {
        var held = 0
        var longest = Span.zero
        if case .hold(let count, let duration) = plan.writes.admission {
            held += count
            longest = duration
        }
        for hold in [readHold, switchHold, sessionHold].compactMap({ $0 }) {
            held += hold.atMost
            longest = max(longest, hold.duration)
        }
        let proof = status.gate.proof
        let unknown = status.gate.unknownWay.map {
            "whether writes through its proxy meet the gate is not known: \($0)"
        }
        let warnings =
            (proof?.limits?.warnings(holding: held) ?? [])
            + (proof?.bounds ?? []).flatMap { $0.warnings(holding: held, for: longest) }
            + (proof?.room?.warnings(holding: held, for: longest) ?? [])
            + [unknown].compactMap { $0 }
        return warnings.isEmpty ? nil : warnings
    }

    /// What is known already of the nodes that the current step waits for.
    func observedFacts(_ observations: Observations, at now: Instant) -> [RunEvent] {
        guard let pending = current?.pending else { return [] }
        var facts: [RunEvent] = []
        for node in pending.sorted() {
            let events = statusFacts(node, observations, at: now)
            // A failure changes what the others are asked, so it is taken in by itself.
            let isFailure = events.contains { if case .nodeFailed = $0 { true } else { false } }
            if isFailure { return facts.isEmpty ? events : facts }
            facts += events
        }
        return facts
    }

    /// What the failure of one node leads to; where it ends the run, of all nodes that fail as well.
    private func failure(
        of node: NodeName, _ reason: String, isFit: Bool, _ observations: Observations,
        at now: Instant
    ) -> [RunEvent] {
        guard let current, current.failed[node] != reason else { return [] }
        if case .stopped = standing { return [] }
        let alone = failure(of: [NodeTrouble(node: node, reason: reason)], isFit: isFit)
        let ends = alone.contains { if case .turnedBack = $0 { true } else { false } }
        guard ends, current.definition.tellsAllFailures else { return alone }
        // The others may have said it under an older directive: what they serve does not depend on that.
        var said: [NodeName: NodeStatus] = [:]
        var troubles: [NodeTrouble] = []
        for other in current.pending.sorted() {
            guard let seat = seat(of: other), let seen = observations[other],
                other == node || now - seen.at <= .seconds(30)
            else { continue }
            said[other] = seen.status
            switch current.definition.judge(seen.status, of: seat, in: self) {
            case .failed(let reason), .unfit(let reason):
                troubles.append(NodeTrouble(node: other, reason: reason))
            case .notYet, .reached: break
            }
        }
        let advice = current.definition.advice(on: said, in: self)
        return failure(of: troubles, advice: advice, isFit: isFit)
    }

    /// What nodes failing the current step leads to.
    ///
    /// - Parameters:
    ///   - isFit: whether the run may go on without them, within the failure budget.
    ///   - isSilence: whether they are not heard.
    func failure(
        of troubles: [NodeTrouble], advice: String? = nil, isFit: Bool = true,
        isSilence: Bool = false
    ) -> [RunEvent] {
        guard let definition = current?.definition else { return [] }
        let facts = troubles.map(RunEvent.nodeFailed)
        if definition.isTidying {
            return facts + troubles.map { .nodeReached(NodeFact(node: $0.node)) }
        }
        if definition.quarantines(in: self), participants.count > troubles.count {
            // On the way back and past the point of no return nothing is gained by stopping: the run goes on
            // without them and does not forget them.
            let goesOn = direction == .back || isPastPointOfNoReturn
            let isInBudget =
                quarantined.count + troubles.count <= plan.rollout.failureBudget
                && !definition.isProof && isFit
            if goesOn || isInBudget { return facts + troubles.map(RunEvent.nodeQuarantined) }
        }
        let words = Listed.text(troubles.map { "\($0.node): \($0.reason)" }, separator: "; ")
        // Nobody can prove anything of a node that is not there; a person who knows that it is off can say so.
        let ways =
            definition.isProof && direction == .forward && !isPastPointOfNoReturn && isSilence
            ? waysAround(troubles.map(\.node)) : nil
        return facts
            + setback("\(definition.title) failed on \(words)", advice: advice, waysOut: ways)
    }
}
