// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What a release's processes are to be.
public struct SilenceGoal: Hashable, Sendable {
    public enum State: String, Sendable {
        /// None of them runs, and all can go on.
        case frozen
        /// They go on.
        case thawed
        /// They are gone, without having run again.
        case ended
    }

    public var release: ReleaseReference
    public var state: State

    public init(release: ReleaseReference, state: State) {
        self.release = release
        self.state = state
    }
}

/// What has become of a goal.
public struct SilenceResult: Hashable, Sendable {
    /// Processes that are frozen now.
    public var frozen: Int
    /// Requests that were under way at the socket when it was frozen.
    public var cut: Int
    /// Why the goal is not reached; `nil` when it is.
    public var problem: String?
    /// Of those that were ended, those that could run when they were found.
    public var running: [String]
    /// The TCP connections that those which are frozen have opened, as ``Silence/connections`` has them.
    public var connections: [String]

    public init(
        frozen: Int, cut: Int = 0, problem: String? = nil, running: [String] = [],
        connections: [String] = []
    ) {
        self.connections = connections
        self.frozen = frozen
        self.cut = cut
        self.problem = problem
        self.running = running
    }
}

/// A release that was told to be silent, by which run. Remembered until it has been thawed or ended for good.
public struct SilenceMemory: Hashable, Codable, Sendable {
    public var release: ReleaseReference
    public var run: RunIdentifier?

    public init(release: ReleaseReference, run: RunIdentifier?) {
        self.release = release
        self.run = run
    }
}

/// How far the present goal has come. Not in the journal: after a restart the processes are looked at.
struct SilenceProgress: Hashable {
    var goal: SilenceGoal
    var result: SilenceResult?
    var nextAt: Instant
    /// Looks in a row that found it so.
    var looks = 0
    /// What ran although it had been silent.
    var late: LateProcesses?

    var isReached: Bool { result != nil && result?.problem == nil }
}

extension NodeEngine {
    /// The time between two looks for processes of a silent release that something has started again.
    public static let silenceInterval = Span.seconds(2)
    /// Once it has been ended the time doubles with each look, up to this: a look reads all of `/proc`, and the release stays asked for
    /// until the next run.
    public static let longestSilenceInterval = Span.minutes(1)

    /// Whether a release has been frozen since this agent began, so that a further look finds at most what was started again.
    public var hasFrozen: Bool { silence?.goal.state == .frozen && silence?.isReached == true }

    /// What the processes of a release should be now; `nil` when none was told to be silent.
    func silenceGoal(_ directive: Directive) -> SilenceGoal? {
        // A release that was silenced before has to be dealt with before the next one.
        let asked = releaseToSilence(directive)
        guard let release = memory.silence?.release ?? asked else { return nil }
        let isServed = release == (directive.active?.release ?? host.current?.release)
        if asked == release {
            // Whoever is still served is never ended; the reads of a node that was left behind are the coordinator's to judge.
            let state: SilenceGoal.State = directive.writes.isOpen && !isServed ? .ended : .frozen
            return SilenceGoal(release: release, state: state)
        }
        let isWayBack =
            directive.run != nil && directive.run == memory.silence?.run
            && !directive.writes.isOpen
        return SilenceGoal(release: release, state: isServed || isWayBack ? .thawed : .ended)
    }

    private func releaseToSilence(_ directive: Directive) -> ReleaseReference? {
        directive.silenced ?? releaseReplaced(directive)
    }

    /// The release that nothing needs any more, since the one that has taken its place answers; what has been frozen for that stays so
    /// while health is asked anew.
    private func releaseReplaced(_ directive: Directive) -> ReleaseReference? {
        guard let replaced = directive.replaced, let goal = directive.active else { return nil }
        if memory.silence?.release == replaced, goal.release != replaced { return replaced }
        guard activeIdentity == goal.identity else { return nil }
        guard case .finished = nextTask(directive, .afterActivation), health?.isHealthy ?? true
        else { return nil }
        return replaced
    }

    func silenceWork(_ directive: Directive, at now: Instant) -> NodeWork? {
        let isUnderWay = works.contains { if case .silence = $0 { true } else { false } }
        guard !isUnderWay, let goal = silenceGoal(directive) else { return nil }
        // The window lasts until this is said, and what is frozen can wait for its end.
        if goal.state == .ended, directive.silenced == goal.release, !hasSaidOpen {
            return nil
        }
        // What no directive asks for any more is over now, and not at the next look: the run that has begun may start that very
        // release again.
        let isOver = releaseToSilence(directive) != goal.release && silence?.isReached == true
        if let silence, silence.goal == goal, now < silence.nextAt, !isOver { return nil }
        return .silence(goal)
    }

    mutating func end(
        _ goal: SilenceGoal, _ result: SilenceResult, at now: Instant, _ ready: inout NodeReady
    ) {
        // The requests that were cut are those of the first look; a later one finds none.
        var result = result
        if silence?.goal == goal, let before = silence?.result {
            result.cut = max(before.cut, result.cut)
        }
        if silence?.goal.release == goal.release, goal.state == .ended {
            result.cut = max(silence?.result?.cut ?? 0, result.cut)
        }
        let isSame = silence?.goal == goal && result.problem == nil
        let looks = isSame ? (silence?.looks ?? 0) + 1 : 0
        silence = SilenceProgress(
            goal: goal, result: result, nextAt: now + pause(after: result, goal, looks),
            looks: looks, late: late(result, goal))
        let isAsked = memory.directive.flatMap(releaseToSilence) == goal.release
        if result.problem == nil, !isAsked, goal.state != .frozen {
            record(.silenceOver, &ready)
            silence = nil
        }
    }

    /// What ran of a release after it had been silent, this look's included. What a new agent finds first may be what the last one
    /// was about to end.
    private func late(_ result: SilenceResult, _ goal: SilenceGoal) -> LateProcesses? {
        guard let silence, silence.goal.release == goal.release else { return nil }
        let isLate = goal.state == .ended && !result.running.isEmpty
        guard isLate, silence.isReached || silence.goal.state == .ended else {
            return silence.late
        }
        let examples = (silence.late?.examples ?? []) + result.running
        return LateProcesses(
            count: (silence.late?.count ?? 0) + result.running.count,
            examples: Array(examples.suffix(LateProcesses.mostExamples)))
    }

    private func pause(after result: SilenceResult, _ goal: SilenceGoal, _ looks: Int) -> Span {
        guard result.problem == nil else { return NodeEngine.effectRetryDelay }
        guard goal.state == .ended else { return NodeEngine.silenceInterval }
        let doubled = NodeEngine.silenceInterval.milliseconds << Int64(min(looks, 5))
        return min(Span(milliseconds: doubled), NodeEngine.longestSilenceInterval)
    }

    func observeSilence() -> Silence {
        guard let directive = memory.directive, let goal = silenceGoal(directive) else {
            return Silence()
        }
        guard let silence, silence.goal == goal, let result = silence.result else {
            return Silence(release: goal.release, frozen: 0, cut: 0, state: .waiting)
        }
        return Silence(
            release: goal.release, frozen: result.frozen, cut: result.cut,
            state: result.problem.map { .failed($0) } ?? .silent, late: silence.late,
            connections: result.connections.isEmpty
                ? nil : Array(result.connections.prefix(Bounds.entries)))
    }

    /// When a silent release is looked at again.
    var nextSilenceLook: Instant? {
        guard let directive = memory.directive, let goal = silenceGoal(directive), let silence,
            silence.goal == goal
        else { return nil }
        return silence.nextAt
    }
}
