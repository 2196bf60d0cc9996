// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ControlAPI
import Logging
import NodeEngine
import SteadyClock
import Synchronization
import UpgradeModel

/// What the agent hears from the coordinator and tells it, and what it tells a person.
extension Agent {
    /// How the coordinator was last heard, for people.
    struct Contact: Sendable {
        var lastAnswer: Instant?
        var trouble: String?
        /// It answers, and the answer is no.
        var isRefused = false
    }

    /// How long the coordinator may keep a question open.
    private static let longPoll = Span.seconds(50)

    func followDirectives() async {
        var backoff = Backoff()
        while !Task.isCancelled {
            let known = engine.memory.directive
            let began = ContinuousClock.now
            let coordinator = coordinator
            // Not a child task, so that a status that got through can end a question that hangs on a dead connection.
            let poll = Task { () -> Result<Directive?, CoordinatorClient.Failure> in
                do throws(CoordinatorClient.Failure) {
                    return .success(
                        try await coordinator.directive(after: known, wait: Agent.longPoll))
                } catch {
                    return .failure(error)
                }
            }
            currentPoll = poll
            let answer = await withTaskCancellationHandler {
                await poll.value
            } onCancel: {
                poll.cancel()
            }
            currentPoll = nil
            guard !Task.isCancelled, fault == nil else { return }
            var isProgress = false
            switch answer {
            case .success(let directive?):
                isProgress = known.map { directive.isNewer(than: $0) } ?? true
                noteContact(nil)
                handle(.directive(directive))
            case .success(nil): isProgress = ContinuousClock.now - began > .seconds(1)
            case .failure(let failure): if !poll.isCancelled { noteContact(failure) }
            }
            if isProgress || poll.isCancelled { backoff.reset() } else { await backoff.wait() }
        }
    }

    /// A status is answered when the coordinator has stored what follows from it. The next one does not wait for that: one
    /// more may be under way while there is no trouble, and by its number the coordinator knows which is later.
    func sendStatuses() async {
        await withTaskGroup(of: Void.self) { group in
            var underWay = 0
            for await _ in reports.stream {
                while underWay >= (contact.trouble == nil ? 2 : 1) {
                    await group.next()
                    underWay -= 1
                }
                underWay += 1
                group.addTask { await self.sendStatus() }
            }
        }
    }

    /// Sends what the node is, until it has been taken in.
    private func sendStatus() async {
        var backoff = Backoff()
        var hasFailed = false
        var isRetrying = false
        while !Task.isCancelled, fault == nil {
            var status = engine.status(at: clock.now)
            let state = staging.withLock { $0 }
            status.staging = state.progress
            if let said = state.said {
                for index in status.tasks.indices
                where status.tasks[index].identity == said.task
                    && status.tasks[index].state == .running
                {
                    status.tasks[index].output = said.line
                }
            }
            status.diskFree = freeBytes(at: configuration.directories.app)
            do throws(CoordinatorClient.Failure) {
                receive(try await coordinator.send(status), afterFailure: hasFailed)
                guard isRetrying, statusRetry.endOrGoOn() else { return }
                hasFailed = false
                backoff.reset()
            } catch {
                noteContact(error)
                hasFailed = true
                if !isRetrying {
                    guard statusRetry.begin() else { return }
                    isRetrying = true
                }
                await backoff.wait()
            }
        }
    }

    /// Takes in that the coordinator has a status.
    private func receive(_ receipt: StatusReceipt, afterFailure: Bool) {
        noteContact(nil)
        // A leader of an earlier epoch is no contact: its word keeps no gate closed.
        let known = engine.memory.directive
        if receipt.epoch >= known?.epoch ?? .zero { handle(.contact) } else { handle(.time) }
        // The coordinator is there again, and the open question may be one that the old one was asked.
        if afterFailure { currentPoll?.cancel() }
    }

    /// Notes whether the coordinator answers, and logs when that changes.
    private func noteContact(_ failure: CoordinatorClient.Failure?) {
        let hadTrouble = contact.trouble != nil
        contact.trouble = failure?.message
        if let failure {
            if !hadTrouble || failure.isRefusal != contact.isRefused {
                logger.warning("\(failure.message)")
            }
            contact.isRefused = failure.isRefusal
        } else {
            contact.lastAnswer = clock.now
            if hadTrouble { logger.notice("the coordinator answers") }
        }
    }

    // MARK: - People

    func report() -> LocalReport {
        // Nobody wakes the agent for a refused request; a person sees the count of now.
        handle(observation())
        let status = engine.preview()
        return LocalReport(
            node: configuration.node, coordinator: coordinator.address.url, now: clock.now,
            lastAnswer: contact.lastAnswer, trouble: contact.trouble,
            run: engine.memory.directive?.run,
            status: status, alarms: engine.alarms.map(\.description))
    }

    func openBreakGlass(reason: String) -> LocalReport {
        handle(.breakGlass(reason: reason))
        return report()
    }

    func endBreakGlass() -> LocalReport {
        handle(.endBreakGlass)
        return report()
    }
}
