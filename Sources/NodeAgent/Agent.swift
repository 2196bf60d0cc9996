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
    let performer: WorkPerformer
    let logger: Logger
    private var journal: AgentJournal
    var engine: NodeEngine
    var meter = GateMeter()
    var areReadsSettled = false
    var areSessionsSettled = false
    /// The writes whose end no proxy reports, of those that were let through before the gate closed, have left the application.
    var haveUncountedLeft = false
    /// Rises whenever the gate opens or closes.
    var uncountedTurn = 0
    private var wakeUp: (any DispatchSourceTimer)?
    var currentWork: Task<WorkResult, Never>?
    var isWorkCancelled = false
    var currentTool: Task<WorkResult, Never>?
    var isToolCancelled = false
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
    let settling = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let sessionSettling = AsyncStream<Void>.makeStream(
        bufferingPolicy: .bufferingNewest(1))
    let uncounted = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let works = AsyncStream<NodeWork>.makeStream()
    let tools = AsyncStream<NodeWork>.makeStream()
    let silences = AsyncStream<NodeWork>.makeStream()
    /// Only the newest counts.
    let proofs = AsyncStream<ProofGoal>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let vacancies = AsyncStream<ReleaseReference>.makeStream(
        bufferingPolicy: .bufferingNewest(1))
    let staging = Mutex<StagingState>(StagingState())
    let connectionAges: ConnectionAges

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
                abilities: parts.configuration.abilities,
                cachesByGeneration: Set(
                    parts.configuration.caches.filter { $0.value == .generation }.keys
                        .map(\.rawValue)), addresses: HostAddresses.now()), at: now)
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
            group.addTask { await self.performTools() }
            group.addTask { await self.performSilences() }
            group.addTask { await self.followDirectives() }
            group.addTask { await self.sendStatuses() }
            group.addTask { await self.settleReads() }
            group.addTask { await self.settleSessions() }
            group.addTask { await self.settleUncounted() }
            group.addTask { await self.watchApplication() }
            group.addTask { await self.proveGate() }
            group.addTask { await self.watchVacancy() }
            var reason: SystemFailure?
            for await end in ending.stream {
                reason = end
                break
            }
            group.cancelAll()
            currentWork?.cancel()
            currentTool?.cancel()
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
        case .watch(let release): vacancies.continuation.yield(release)
        case .begin(let work): begin(work)
        case .endWork:
            isWorkCancelled = true
            currentWork?.cancel()
        case .endTool:
            isToolCancelled = true
            currentTool?.cancel()
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
}
