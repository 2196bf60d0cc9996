// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import HostWork
import NodeEngine
import Releases
import UpgradeModel

/// A release that has been started and is not served yet.
extension WorkPerformer {
    /// The most questions that one check asks at once.
    private static let mostQuestions = 32

    /// Asks a release at its own socket, all checks of the goal: at once twice as many questions as it has processes, since whoever
    /// forks its workers may have one that answers and another that does not.
    func probeBesideProxy(_ goal: HealthGoal, _ release: ReleaseReference?) async -> WorkResult {
        let asksActions = [goal.check].contains { name in
            if case .action? = configuration.health[name]?.destination { true } else { false }
        }
        guard configuration.applicationSocket != nil || asksActions else {
            return .probed(
                isGood: true, detail: "not asked: \(configuration.file) has no application.socket")
        }
        guard let release, release.name == goal.release else {
            return .probed(isGood: false, detail: "\(goal.release) is not on this node")
        }
        let socket = store.socketPath(of: release)
        let processes = ReleaseProcesses(of: store.footprint(of: release), others: []).census()
        let questions = min(max(2, 2 * processes.processes), WorkPerformer.mostQuestions)
        for name in [goal.check] + (goal.others ?? []) {
            guard let check = configuration.health[name]?.askedBesideProxy else {
                return unknown(name)
            }
            if case .action(let action) = check.destination {
                let answer = await probe(by: action, release)
                guard case .probed(isGood: true, _) = answer else { return answer }
                continue
            }
            if let trouble = await trouble(asking: check, questions, of: release, at: socket) {
                return .probed(isGood: false, detail: "\(trouble) at \(socket)")
            }
        }
        return .probed(isGood: true, detail: "\(questions) questions a check answered at \(socket)")
    }

    /// - Returns: what was wrong with one of the answers; `nil` when all are good.
    private func trouble(
        asking check: HealthCheck, _ questions: Int, of release: ReleaseReference, at socket: String
    ) async -> String? {
        await withTaskGroup(of: String?.self) { group in
            for _ in 0..<questions {
                group.addTask {
                    let answer = await prober.ask(
                        check, release: release.name, applicationSocket: socket,
                        files: store.filesDirectory(of: release))
                    return answer.isGood ? nil : answer.detail
                }
            }
            var trouble: String?
            for await found in group { trouble = trouble ?? found }
            return trouble
        }
    }
}

extension HealthCheck {
    /// The same question at the release's socket, with the `Host` that it has through the proxy.
    fileprivate var askedBesideProxy: HealthCheck {
        var check = self
        if case .action = destination { return self }
        if case .address(let address) = destination, host == "localhost" { check.host = address }
        check.destination = .applicationSocket
        return check
    }
}
