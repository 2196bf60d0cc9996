// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import HostWork
import Releases
import UpgradeModel

/// Whether a release that was started is there: what `gunicorn --daemon` ends with says nothing of the application.
struct ReleaseWatch: Sendable {
    var configuration: AgentConfiguration
    var store: ReleaseStore
    var prober = HealthProber()

    /// Waits until a release answers at its socket.
    ///
    /// With a health check that asks there, any answer counts: what it says is the rollout's to judge, and a release that
    /// refuses the old schema has to wait for its own. Without one, a connection that is taken, twice.
    ///
    /// - Parameter limit: how long it may take; ends earlier when no process of the release is left.
    /// - Returns: `nil` when it answers; otherwise what is wrong.
    func reasonNotToAnswer(_ release: ReleaseReference, within limit: Duration) async -> String? {
        let socket = store.socketPath(of: release)
        let begin = ContinuousClock.now
        let processes = ReleaseProcesses(of: store.footprint(of: release), others: [])
        // A server that loads what a page needs with the first question to each of its workers goes on with those that nobody waits for
        // any more: asked again and again after the same short time, it might never be done with them.
        var patience = check?.timeout ?? .seconds(2)
        var good = 0
        var trouble = ""
        var absent = 0
        while !Task.isCancelled {
            let asked = ContinuousClock.now
            if let found = await self.trouble(at: socket, release, patience) {
                trouble = found
                good = 0
                if ContinuousClock.now - asked >= .milliseconds(patience.milliseconds) {
                    patience = .milliseconds(patience.milliseconds * 2)
                }
            } else {
                good += 1
                if good == 2 { return nil }
            }
            absent = good == 0 && processes.census().processes == 0 ? absent + 1 : 0
            // A daemon may be between its parent's end and its own name for a moment.
            if absent >= 10 {
                return
                    "no process of \(release.name) is left, and nothing answers at \(socket) (\(trouble)); the application's own log "
                    + "says why it ended"
            }
            if ContinuousClock.now - begin > limit {
                return late(release, socket, trouble, runs: processes.census().processes > 0)
            }
            try? await Task.sleep(for: .milliseconds(200))
        }
        return "cancelled"
    }

    /// What is said of one that had its time: one that still runs may only need more of it.
    private func late(
        _ release: ReleaseReference, _ socket: String, _ trouble: String, runs: Bool
    ) -> String {
        let file = configuration.file
        return
            "\(release.name) does not answer at \(socket) (\(trouble)), and the time of the action is over; "
            + (runs
                ? "it runs: where it was still loading, give the action that started it a longer `timeout` in \(file); or else "
                : "")
            + "the application's own log says why, or let the last action of `rollout.warm` start it (`awaits_socket: false` in "
            + "\(file) when it starts elsewhere)"
    }

    /// The first by name that asks at the socket: any answer counts.
    private var check: HealthCheck? {
        configuration.health.sorted { $0.key.rawValue < $1.key.rawValue }
            .first { $0.value.destination == .applicationSocket }?.value
    }

    private func trouble(
        at socket: String, _ release: ReleaseReference, _ patience: Span
    ) async -> String? {
        if let reason = reasonNotToConnect(to: socket) { return reason }
        guard var check else { return nil }
        check.timeout = patience
        return await prober.trouble(
            asking: check, at: socket, files: store.filesDirectory(of: release))
    }
}
