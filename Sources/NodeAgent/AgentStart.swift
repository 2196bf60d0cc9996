// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ControlAPI
import CurlClient
import Dispatch
import Files
import Glibc
import Logging
import NodeEngine
import Releases
import SteadyClock
import UpgradeModel
import WriteGate

/// Opens everything that an agent needs, in the order in which it matters, and runs it.
struct AgentStart: Sendable {
    var configuration: AgentConfiguration
    var logger: Logger

    /// Works until the task is cancelled or the agent cannot go on.
    ///
    /// - Parameter onStart: called with what ends the gate's thread and sockets, leaving its flags as they are.
    func run(onStart: @Sendable (@escaping @Sendable () -> Void) -> Void = { _ in })
        async throws(SystemFailure)
    {
        // The gate as soon as it is known what it has to do: while it is away, the proxy goes by the flags alone.
        let changes = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let configuration = configuration
        try onFiles { () throws(FileFailure) in
            try makeDirectory(configuration.directories.state, mode: 0o700)
        }
        var opened = try AgentJournal.open(configuration.journal)
        let clock = SteadyClock(notBefore: opened.latest)
        noteStart(&opened, clock)
        let gate = try openGate(remembering: opened.memory) { changes.continuation.yield() }
        defer { gate.stop() }
        ServiceManager.tellReady()
        try onFiles { () throws(FileFailure) in
            try makeDirectory(configuration.actionOutput, mode: 0o700)
        }
        let local = try LocalSocket(path: configuration.localSocket)
        let agent = try await open(gate, opened, clock)
        onStart { gate.stop() }
        logger.notice(
            "sluice-agent \(programVersion): \(configuration.coordinator.url), gate \(gate.observe().setting.writes.kind.rawValue)"
        )
        let failure = await withTaskGroup(of: SystemFailure?.self) { group in
            group.addTask {
                do throws(SystemFailure) {
                    try await agent.run(gateChanges: changes.stream)
                    return nil
                } catch {
                    return error
                }
            }
            group.addTask {
                for await call in local.calls { await answer(call, agent) }
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
        unlink(configuration.localSocket)
        if let failure { throw failure }
    }

    /// Writes down what this start means for the lease, before the gate closes by it.
    ///
    /// Where that cannot be written nothing would bound how long starts like this one keep the gate closed, so it opens. The
    /// journal takes nothing more then, and the agent ends before it would close the gate or say anything new.
    private func noteStart(_ opened: inout AgentJournal.Opened, _ clock: SteadyClock) {
        let now = clock.now
        guard
            let record = opened.memory.recordAtStart(
                at: now, clockWentBack: SteadyClock.wall < opened.latest)
        else { return }
        do throws(SystemFailure) {
            try opened.journal.append([record], at: now)
            opened.memory.apply(record)
        } catch {
            logger.critical(
                "the journal cannot be written, so the gate is opened, as the directive allows: \(error)"
            )
            opened.memory.apply(.leaseExpired(at: now))
        }
    }

    /// The gate as the journal says; without a directive, as its own durable state says.
    ///
    /// After a reboot the runtime directory is empty, and only the journal knows that the gate has to be closed. After a crash
    /// it may be closed still, and only the journal knows that it has to open: now, because the rest of the start may fail.
    private func openGate(
        remembering memory: NodeMemory, _ onChange: @escaping @Sendable () -> Void
    ) throws(SystemFailure) -> WriteGate {
        let runtime = configuration.gate.runtimeDirectory
        let target = memory.gateAtStart
        let isForgotten = access(runtime + "/mode.json", F_OK) != 0 && target != .open
        // A flag without a mode is a closed gate, from its first answer on.
        if isForgotten { try raiseReadOnly(in: runtime) }
        let gate = try openGate(onChange)
        do throws(GateError) {
            if isForgotten {
                try gate.set(GateSetting(target))
            } else if target == .open, memory.directive != nil {
                // A flag that cannot be removed stops nothing: the engine tries again and reports it.
                try? gate.set(.open)
            }
            if memory.directive?.service == .out { try gate.setService(.out) }
        } catch {
            gate.stop()
            throw SystemFailure("the gate cannot be closed as it was before: \(error)")
        }
        return gate
    }

    private func raiseReadOnly(in runtime: String) throws(SystemFailure) {
        // The proxy's workers run as another user, whatever the umask of the agent.
        try onFiles { () throws(FileFailure) in
            try makeDirectory(runtime, mode: 0o755)
            try writeFile(runtime + "/read-only", [], mode: 0o644, isSynced: true)
        }
    }

    private func openGate(_ onChange: @escaping @Sendable () -> Void) throws(SystemFailure)
        -> WriteGate
    {
        var attempts = 0
        while true {
            do throws(GateError) {
                return try WriteGate(configuration.gate) { _ in onChange() }
            } catch {
                // A child between its fork and its exec may hold the lock of an agent that has just been killed.
                attempts += 1
                guard error.code == .alreadyRunning, attempts < 20 else {
                    throw SystemFailure("the gate cannot be opened: \(error)")
                }
                usleep(50_000)
            }
        }
    }

    private func open(
        _ gate: WriteGate, _ opened: consuming AgentJournal.Opened, _ clock: SteadyClock
    ) async throws(SystemFailure) -> Agent {
        let token = try readToken(configuration.coordinator.token)
        let client = CurlClient()
        let coordinator = CoordinatorClient(
            address: configuration.coordinator, token: token, client: client,
            downloads: CurlClient())
        do throws(ReleaseFailure) {
            let store = try ReleaseStore(configuration.releases)
            let performer = WorkPerformer(
                configuration: configuration, store: store, coordinator: coordinator,
                actions: ActionRunner(outputDirectory: configuration.actionOutput),
                passes: PassMaker(file: configuration.passKey),
                prober: HealthProber(pass: { gate.makePass() }),
                flusher: CacheFlusher(client: client))
            let host = try await performer.survey()
            let memory = opened.memory
            return Agent(
                Agent.Parts(
                    configuration: configuration, coordinator: coordinator, clock: clock,
                    gate: gate, store: store,
                    performer: performer, journal: opened.journal, memory: memory, host: host,
                    boot: String(UInt64.random(in: .min ... .max), radix: 16), logger: logger))
        } catch {
            throw SystemFailure(
                "the releases in \(configuration.directories.app) cannot be used: \(error)")
        }
    }

    private func answer(_ call: LocalSocket.Call, _ agent: Agent) async {
        switch call.request.verb {
        case .status: call.answer(await agent.report())
        case .openBreakGlass:
            let reason = TaskOutcome.text(
                Array((call.request.reason ?? "no reason given").utf8), limit: 500)
            call.answer(await agent.openBreakGlass(reason: reason))
        case .endBreakGlass: call.answer(await agent.endBreakGlass())
        }
    }
}

extension AgentConfiguration {
    /// Where the releases of this node are.
    var releases: ReleaseStore.Configuration {
        ReleaseStore.Configuration(
            root: directories.app,
            socketTemplate: applicationSocket ?? directories.runtime + "/app/{release}.sock",
            // The form of the key admits no other than such paths.
            shared: shared.compactMap { try? BundlePath($0) })
    }
}

/// The node's token, from where the configuration says. The file has to be readable by its owner alone.
func readToken(_ reference: SecretReference) throws(SystemFailure) -> HTTPSecret {
    let text: String
    switch reference {
    case .environment(let name):
        guard let value = getenv(name) else {
            throw SystemFailure(
                "the token's environment variable \(name) is not set; it is \(whereTokensComeFrom)")
        }
        text = String(cString: value)
    case .file(let path):
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw SystemFailure(
                "the token's file \(path) cannot be found (\(String(cString: strerror(errno)))); it has \(whereTokensComeFrom), and mode 0600"
            )
        }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o077 == 0 else {
            throw SystemFailure("others may read the token in \(path); chmod 600 \(path)")
        }
        text = try onFiles { () throws(FileFailure) in try readTextFile(path, atMost: 4096) }
    }
    let token = text.split(whereSeparator: \.isWhitespace).joined()
    guard !token.isEmpty, token.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
        throw SystemFailure(
            "the token is empty or has characters that no token has; it is \(whereTokensComeFrom)")
    }
    return HTTPSecret(token)
}

private let whereTokensComeFrom =
    "what `sluice token create --node NAME` prints on the coordinator's machine"
