// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ControlAPI
import Dispatch
import Files
import HostWork
import Logging
import NodeEngine
import Releases
import SteadyClock
import Synchronization
import UpgradeModel
import WriteGate

/// The shell of a node: one engine, and everything that carries out what it says.
///
/// Whatever is heard becomes an input of the engine. What follows from it is carried out at once, in order: the journal is on
/// disk, then the gate is set, then work begins, then a status goes out. Runs on a queue of its own, because it waits for disks.
actor Agent {
    private let executor = QueueExecutor(label: "agent", qos: .userInitiated)
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let configuration: AgentConfiguration
    let coordinator: CoordinatorClient
    let clock: SteadyClock
    let gate: WriteGate
    let store: ReleaseStore
    private let performer: WorkPerformer
    let logger: Logger
    private var journal: AgentJournal
    var engine: NodeEngine
    private var meter = GateMeter()
    private var areReadsSettled = false
    private var areSessionsSettled = false
    private var wakeUp: (any DispatchSourceTimer)?
    private var currentWork: Task<WorkResult, Never>?
    private var isWorkCancelled = false
    var currentPoll: Task<Result<Directive?, CoordinatorClient.Failure>, Never>?
    var contact = Contact()
    var statusRetry = StatusRetry()
    /// Set when the journal could not be written: nothing is done any more.
    var fault: SystemFailure?

    /// Why the agent cannot go on; ends `run`.
    private let ending = AsyncStream<SystemFailure>.makeStream(
        bufferingPolicy: .bufferingOldest(1))
    /// At most one of each is pending: what is pending is looked at anew when its turn comes.
    let reports = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    private let settling = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    private let sessionSettling = AsyncStream<Void>.makeStream(
        bufferingPolicy: .bufferingNewest(1))
    private let works = AsyncStream<NodeWork>.makeStream()
    /// Only the newest counts.
    private let proofs = AsyncStream<ProofGoal>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let staging = Mutex<StagingState>(StagingState())
    private let connectionAges: ConnectionAges

    struct StagingState {
        var progress: UpgradeModel.StagingProgress?
        var reportedAt = Instant(milliseconds: 0)
        /// The last line that the action under way has said.
        var said: (task: TaskIdentity, line: String)?

        mutating func forget() {
            progress = nil
            said = nil
        }
    }

    /// How the coordinator was last heard, for people.
    struct Contact: Sendable {
        var lastAnswer: Instant?
        var trouble: String?
        /// It answers, and the answer is no.
        var isRefused = false
    }

    /// Of the statuses that failed together one is tried again, so that a coordinator that comes back hears each node once.
    struct StatusRetry: Sendable {
        private var isTaken = false
        private var isOvertaken = false

        /// - Returns: whether the status that failed is the one to be tried again.
        mutating func begin() -> Bool {
            isOvertaken = isTaken
            defer { isTaken = true }
            return !isTaken
        }

        /// The one that was tried again got through.
        ///
        /// - Returns: whether another has failed since, which may have said more: the status of now has to follow.
        mutating func endOrGoOn() -> Bool {
            isTaken = isOvertaken
            defer { isOvertaken = false }
            return isOvertaken
        }
    }

    /// Everything that has been opened before the agent begins.
    struct Parts: ~Copyable {
        var configuration: AgentConfiguration
        var coordinator: CoordinatorClient
        var clock: SteadyClock
        var gate: WriteGate
        var store: ReleaseStore
        var performer: WorkPerformer
        var journal: AgentJournal
        var memory: NodeMemory
        var host: HostFacts
        var boot: String
        var logger: Logger
    }

    init(_ parts: consuming Parts) {
        configuration = parts.configuration
        coordinator = parts.coordinator
        clock = parts.clock
        gate = parts.gate
        store = parts.store
        performer = parts.performer
        connectionAges = parts.performer.connectionAges
        logger = parts.logger
        let now = parts.clock.now
        engine = NodeEngine(
            memory: parts.memory, host: parts.host,
            gate: meter.observe(parts.gate.observe(), areReadsSettled: false, at: now),
            service: parts.gate.service,
            identity: NodeEngine.AgentIdentity(
                boot: parts.boot, version: programVersion,
                abilities: AgentAbility.allCases.filter {
                    $0 != .switchesVersions || parts.configuration.release.areForVersions
                }), at: now)
        journal = parts.journal
    }

    /// Works until the task is cancelled or the journal cannot be written.
    ///
    /// - Parameter gateChanges: an element whenever the gate sees something new.
    /// - Throws: when it cannot go on. The gate is as it was last set.
    func run(gateChanges: AsyncStream<Void>) async throws(SystemFailure) {
        startTimer()
        if journal.isLarge || engine.memory.directive != nil { compactJournal() }
        handle(.time)
        let reason = await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.watchGate(gateChanges) }
            group.addTask { await self.performWorks() }
            group.addTask { await self.followDirectives() }
            group.addTask { await self.sendStatuses() }
            group.addTask { await self.settleReads() }
            group.addTask { await self.settleSessions() }
            group.addTask { await self.watchApplication() }
            group.addTask { await self.proveGate() }
            var reason: SystemFailure?
            for await end in ending.stream {
                reason = end
                break
            }
            group.cancelAll()
            currentWork?.cancel()
            currentPoll?.cancel()
            return reason
        }
        wakeUp?.cancel()
        if let reason { throw reason }
    }

    // MARK: - Input, and what follows

    /// Puts an input into the engine and carries out what follows.
    func handle(_ input: NodeInput) {
        guard fault == nil else { return }
        var inputs = [input]
        while !inputs.isEmpty, fault == nil {
            let now = clock.now
            let ready = engine.step(inputs.removeFirst(), at: now)
            log(ready)
            for effect in ready.effects where fault == nil {
                inputs += interpret(effect, of: ready, at: now)
            }
            if fault == nil, inputs.isEmpty { arm(ready.wakeAt, now) }
        }
        gate.tellPages(
            release: engine.host.current.map { $0.release.activationName($0.generation) },
            begins: engine.memory.directive?.announced)
        if fault == nil, journal.isLarge { compactJournal() }
    }

    /// Does one thing that the engine says.
    ///
    /// - Returns: what the engine hears of it at once.
    private func interpret(
        _ effect: NodeEffect, of ready: NodeReady, at now: Instant
    ) -> [NodeInput] {
        switch effect {
        case .journal(let records):
            do throws(SystemFailure) {
                try journal.append(records, at: now)
            } catch {
                // To open needs no memory: the next agent is at worst more careful. The log at least knows why.
                if ready.gate?.isOpen == true { _ = set(.open) }
                stop(because: error)
            }
        case .setGate(let target): return set(target)
        case .setService(let service): return [set(service)]
        case .prove(let goal): proofs.continuation.yield(goal)
        case .makePass(let goal): return [.passMade(goal, performer.offer(goal))]
        case .begin(let work): begin(work)
        case .endWork:
            isWorkCancelled = true
            currentWork?.cancel()
        case .report: reports.continuation.yield()
        }
        return []
    }

    private func log(_ ready: NodeReady) {
        for alarm in ready.alarms { logger.critical("\(alarm)") }
        for alarm in ready.endedAlarms { logger.notice("over: \(alarm)") }
    }

    private func stop(because failure: SystemFailure) {
        fault = failure
        logger.critical(
            "the journal cannot be written, so nothing more is done: \(failure); the gate is \(gate.observe().setting.writes.kind.rawValue). Make room or replace the disk, then start the agent again"
        )
        ending.continuation.yield(failure)
    }

    private func set(_ target: GateTarget) -> [NodeInput] {
        let before = gate.observe()
        let hadReadHold = before.setting.readHold != nil
        let hadSessionHold = before.setting.sessionReadHold != nil
        if target.writes.isOpen { meter.willOpen(before) }
        var failure: String?
        do throws(GateError) {
            gate.setPace(target.pace)
            try gate.set(GateSetting(target))
            logger.info(
                "gate: writes \(target.writes.kind.rawValue), reads \(target.reads == nil ? "pass" : "held")\(target.sessions == nil ? "" : ", those of sessions held")"
            )
        } catch {
            failure = error.description
            logger.error("the gate cannot be set: \(error)")
        }
        let setting = gate.observe().setting
        let hasReadHold = setting.readHold != nil
        let hasSessionHold = setting.sessionReadHold != nil
        if hasReadHold != hadReadHold { areReadsSettled = false }
        if hasSessionHold != hadSessionHold { areSessionsSettled = false }
        if hasReadHold, !areReadsSettled { settling.continuation.yield() }
        if hasSessionHold, !areSessionsSettled { sessionSettling.continuation.yield() }
        return [observation(), .effected(.gate, failure: failure)]
    }

    private func set(_ service: Service) -> NodeInput {
        do throws(GateError) {
            try gate.setService(service)
            logger.info("service: \(service.rawValue)")
            return .effected(.service, failure: nil)
        } catch {
            logger.error("the service flag cannot be set: \(error)")
            return .effected(.service, failure: error.description)
        }
    }

    func observation() -> NodeInput {
        .gate(
            meter.observe(
                gate.observe(), areReadsSettled: areReadsSettled,
                areSessionsSettled: areSessionsSettled, sessionMarks: gate.sessionMarks,
                at: clock.now))
    }

    private func compactJournal() {
        do throws(SystemFailure) {
            try journal.compact(engine.memory, at: clock.now)
        } catch {
            logger.warning("the journal cannot be made smaller: \(error)")
        }
    }

    // MARK: - Time

    private func startTimer() {
        let timer = DispatchSource.makeTimerSource(queue: executor.queue)
        timer.setEventHandler { [weak self] in
            self?.assumeIsolated { $0.handle($0.observation()) }
        }
        timer.schedule(deadline: .distantFuture)
        timer.activate()
        wakeUp = timer
    }

    private func arm(_ wake: Instant?, _ now: Instant) {
        guard let wake else {
            wakeUp?.schedule(deadline: .distantFuture)
            return
        }
        let wait = max(1, (wake - now).milliseconds)
        wakeUp?.schedule(
            deadline: .now() + .milliseconds(Int(min(wait, 3_600_000))), leeway: .milliseconds(1))
    }

    // MARK: - The gate

    private func watchGate(_ changes: AsyncStream<Void>) async {
        for await _ in changes { handle(observation()) }
    }

    /// Waits until the reads that were let through before have left the application, or for as long as the configuration says.
    private func settleReads() async {
        for await _ in settling.stream {
            let deadline =
                ContinuousClock.now + .milliseconds(configuration.readsSettleWithin.milliseconds)
            var quiet = 0
            // The first look is at once and the last 15 ms later.
            while !Task.isCancelled, gate.observe().setting.readHold != nil {
                quiet = hasReadsInFlight() ? 0 : quiet + 1
                // A request may be between the proxy's question and its connection, hence more than one look.
                guard quiet < 4, ContinuousClock.now < deadline else { break }
                try? await Task.sleep(for: .milliseconds(5))
            }
            guard gate.observe().setting.readHold != nil else { continue }
            areReadsSettled = true
            handle(observation())
        }
    }

    /// Waits until the requests that were under way when the reads of sessions began to be held have left the application: who has a
    /// session among them is not known, and all others go on meanwhile.
    private func settleSessions() async {
        for await _ in sessionSettling.stream {
            let deadline =
                ContinuousClock.now + .milliseconds(configuration.readsSettleWithin.milliseconds)
            var before = connectionsInFlight().map { connectionAges.young(among: $0) }
            while !Task.isCancelled, gate.observe().setting.sessionReadHold != nil,
                before?.isEmpty != true, ContinuousClock.now < deadline
            {
                try? await Task.sleep(for: .milliseconds(5))
                before = connectionsInFlight().flatMap { before?.intersection($0) }
            }
            guard gate.observe().setting.sessionReadHold != nil else { continue }
            areSessionsSettled = true
            handle(observation())
        }
    }

    private func hasReadsInFlight() -> Bool { connectionsInFlight()?.isEmpty != true }

    /// What the proxy has passed on to the application and is not answered; `nil`: nobody knows.
    private func connectionsInFlight() -> Set<UInt64>? {
        guard configuration.applicationSocket != nil, let current = engine.host.current else {
            return nil
        }
        return UnixSocketTable.now()?.connections(at: store.socketPath(of: current.release))
    }

    /// Sends marked writes through the proxy until one says that the gate is asked.
    private func proveGate() async {
        let prover = GateProver(gate: gate, targets: configuration.probes)
        for await goal in proofs.stream {
            var last: GateProof?
            while !Task.isCancelled, engine.proofGoal == goal {
                var proof = await prover.prove(isClosed: goal.isClosed)
                if !goal.isClosed { await addLimits(to: &proof) }
                if proof.state == .failed, proof != last { logger.error("\(proof.detail)") }
                last = proof
                // The question has told the gate by what the proxy knows a session.
                handle(observation())
                handle(.proved(goal, proof))
                guard proof.state == .failed || proof.state == .waiting else { break }
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    // MARK: - The application

    /// Looks whether the application answers, as the proxy would; cheaply, and so rarely that it costs nothing.
    private func watchApplication() async {
        let hasSocket = configuration.applicationSocket != nil
        var looks = 0
        var drift: String?
        while !Task.isCancelled, hasSocket || configuration.release.areForVersions {
            if hasSocket {
                connectionAges.note(engine.host.staged.map { store.socketPath(of: $0) })
            }
            // A look is a connection, and while reads settle the connections are counted.
            if let release = engine.host.current?.release, gate.observe().setting.readHold == nil {
                // A version that somebody has switched by hand; a report may be a costly program.
                if looks.isMultiple(of: 10) || drift != nil {
                    drift = await performer.troubleReporting(release)
                }
                let unreachable = hasSocket ? trouble(reaching: release) : nil
                handle(.application(release, trouble: unreachable ?? drift))
            }
            looks += 1
            try? await Task.sleep(for: .seconds(3), tolerance: .seconds(1))
        }
    }

    private func trouble(reaching release: ReleaseReference) -> String? {
        let socket = store.socketPath(of: release)
        guard let reason = reasonNotToConnect(to: socket) else { return nil }
        return
            "the application of \(release.name) does not accept connections at \(socket) (\(reason)): start it, "
            + "or readers get 502 from this node"
    }

    // MARK: - Work

    private func begin(_ work: NodeWork) {
        isWorkCancelled = false
        works.continuation.yield(work)
    }

    private func performWorks() async {
        for await work in works.stream {
            staging.withLock { $0.forget() }
            let surroundings = surroundings()
            let performer = performer
            // Not a child task, so that it can be ended alone; it does not outlive this turn of the loop.
            let task = Task { await performer.perform(work, surroundings) }
            currentWork = task
            if isWorkCancelled { task.cancel() }
            let result = await withTaskCancellationHandler {
                await task.value
            } onCancel: {
                task.cancel()
            }
            currentWork = nil
            staging.withLock { $0.forget() }
            guard !Task.isCancelled else { return }
            log(work, result)
            handle(.ended(work, result))
        }
    }

    private func surroundings() -> WorkPerformer.Surroundings {
        let directive = engine.memory.directive
        return WorkPerformer.Surroundings(
            run: directive?.run, protected: Set(directive?.stage.map { [$0] } ?? []),
            host: engine.host, staged: directive?.stage,
            lastWarming: directive?.tasks.last {
                $0.kind == .action && $0.timing == .beforeActivation && $0.release != nil
                    && $0.release == directive?.stage
            }?.identity, mayReadsEnd: !engine.hasFrozen,
            onProgress: { [weak self] progress in self?.note { $0.progress = progress } },
            onOutput: { [weak self] task, line in self?.note { $0.said = (task, line) } })
    }

    /// Called from any thread, often.
    private nonisolated func note(_ change: (inout StagingState) -> Void) {
        let now = clock.now
        let isDue = staging.withLock { state in
            change(&state)
            guard now >= state.reportedAt + .milliseconds(500) else { return false }
            state.reportedAt = now
            return true
        }
        if isDue { reports.continuation.yield() }
    }

    /// A silent release is looked at every few seconds; only what is new is worth a line.
    private func log(_ goal: SilenceGoal, _ result: SilenceResult) {
        let before = engine.preview().silenced
        if let problem = result.problem {
            logger.error("\(goal.release.name) is not \(goal.state.rawValue): \(problem)")
        } else if before?.state != .silent {
            logger.notice(
                "the old release \(goal.release.name) is \(goal.state.rawValue): \(result.frozen) processes frozen, \(result.cut) requests cut"
            )
        } else if goal.state == .frozen, let before, result.frozen > before.frozen {
            logger.warning(
                "something has started \(goal.release.name) again; \(result.frozen) processes of it are frozen now"
            )
        }
    }

    private func log(_ work: NodeWork, _ result: WorkResult) {
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
        case .stage(let release): "stage \(release.name)"
        case .activate(let plan):
            "activate \(plan.release.name) as generation \(plan.generation.rawValue)"
        case .run(let task): "\(task.kind.rawValue) \(task.name) (\(task.identity))"
        case .resolve(let task):
            "find out about \(task.kind.rawValue) \(task.name) (\(task.identity))"
        case .probe(let goal): "health \(goal.check)"
        case .silence(let goal): "\(goal.release.name) \(goal.state.rawValue)"
        case .unstage(let release): "unstage \(release.name)"
        case .prune(let keep): "prune to \(keep) releases"
        }
    }
}
