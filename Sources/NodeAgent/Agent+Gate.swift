// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import HostWork
import Logging
import NodeEngine
import Releases
import SteadyClock
import UpgradeModel
import WriteGate

/// What the agent does to its gate, and what it sees of it.
extension Agent {
    func set(_ target: GateTarget) -> [NodeInput] {
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
        if setting.writes.isOpen || before.setting.writes.isOpen {
            haveUncountedLeft = false
            uncountedTurn += 1
        }
        if !setting.writes.isOpen, !haveUncountedLeft { uncounted.continuation.yield() }
        if hasReadHold, !areReadsSettled { settling.continuation.yield() }
        if hasSessionHold, !areSessionsSettled { sessionSettling.continuation.yield() }
        return [observation(), .effected(.gate, failure: failure)]
    }

    func set(_ service: Service) -> NodeInput {
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
                areSessionsSettled: areSessionsSettled, haveUncountedLeft: haveUncountedLeft,
                sessionMarks: gate.sessionMarks, at: clock.now))
    }

    func watchGate(_ changes: AsyncStream<Void>) async {
        for await _ in changes { handle(observation()) }
    }

    /// Waits until the reads that were let through before have left the application, or for as long as the configuration says.
    func settleReads() async {
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
    func settleSessions() async {
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

    /// Where the proxy does not say when a write has ended, the kernel does: none is under way when every connection to the application
    /// that was there when the gate closed has gone. A read, or a stream, that was there is waited for as well.
    func settleUncounted() async {
        for await _ in uncounted.stream {
            let turn = uncountedTurn
            var before = connectionsInFlight()
            // A write may be between the proxy's question and its connection, hence more than one look.
            for _ in 0..<4 {
                try? await Task.sleep(for: .milliseconds(5))
                before = connectionsInFlight().flatMap { before?.union($0) }
            }
            // One that is counted may still be on its way to the proxy, body and all, without a connection.
            while isClosedWithUncounted(turn), let left = before,
                !left.isEmpty || gate.observe().oldestInFlight != nil
            {
                try? await Task.sleep(for: .milliseconds(10))
                before = connectionsInFlight().map { left.intersection($0) }
            }
            guard isClosedWithUncounted(turn), before?.isEmpty == true else { continue }
            haveUncountedLeft = true
            handle(observation())
        }
    }

    private func isClosedWithUncounted(_ turn: Int) -> Bool {
        let snapshot = gate.observe()
        return !Task.isCancelled && uncountedTurn == turn && !snapshot.setting.writes.isOpen
            && snapshot.writesInFlight == nil
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
    func proveGate() async {
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
}
