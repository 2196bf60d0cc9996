// SPDX-License-Identifier: Apache-2.0

import Files
import HostWork
import NodeEngine
import Releases
import UpgradeModel

/// The processes of a release that may write no more.
extension WorkPerformer {
    /// How long requests that are under way at the old release's socket may take to end before it is frozen.
    static let readsEndWithin = Duration.seconds(2)

    func silence(_ goal: SilenceGoal, _ surroundings: Surroundings) async -> SilenceResult {
        let others = surroundings.host.staged.filter { $0 != goal.release }
        var footprint = store.footprint(of: goal.release)
        footprint.servedLink = await servedLink(goal, surroundings)
        let processes = ReleaseProcesses(
            of: footprint, others: others.map { store.footprint(of: $0) })
        switch goal.state {
        case .frozen:
            var cut = 0
            if surroundings.mayReadsEnd, surroundings.host.current?.release != goal.release {
                cut = await letReadsEnd(at: store.socketPath(of: goal.release))
            }
            let outcome = await processes.freeze()
            return SilenceResult(
                frozen: outcome.processes, cut: cut, problem: outcome.problem,
                connections: outcome.connections)
        case .thawed:
            return SilenceResult(frozen: 0, problem: await processes.thaw().problem)
        case .ended:
            let outcome = await processes.end()
            return SilenceResult(frozen: 0, problem: outcome.problem, running: outcome.running)
        }
    }

    /// What was started through `current` before the flip is the old release's.
    ///
    /// After a flip back nobody can tell which of the two releases such a process is of, but that those which are stopped were
    /// stopped with the one that is served again.
    private func servedLink(_ goal: SilenceGoal, _ surroundings: Surroundings) async -> ServedLink?
    {
        guard let current = surroundings.host.current else { return nil }
        let path = store.currentLink
        if goal.state == .thawed {
            return current.release == goal.release ? ServedLink(stoppedOnlyThrough: path) : nil
        }
        guard current.release != goal.release,
            let isBack = try? await store.isFlippedBack(from: goal.release), !isBack
        else { return nil }
        return ServedLink(replacedAt: path)
    }

    /// Waits for the requests that the proxy has passed on to the old release; those that have been open for long (a WebSocket, a
    /// stream, a connection that is kept) do not end by themselves and are not waited for.
    ///
    /// - Returns: how many connections are open still.
    private func letReadsEnd(at socket: String) async -> Int {
        let deadline = ContinuousClock.now + WorkPerformer.readsEndWithin
        while !Task.isCancelled {
            let open = UnixSocketTable.now()?.connections(at: socket) ?? []
            let young = connectionAges.young(among: open)
            if young.isEmpty || ContinuousClock.now >= deadline { return open.count }
            try? await Task.sleep(for: .milliseconds(5))
        }
        return 0
    }

}

extension ReleaseStore {
    /// How a process of a release is known.
    nonisolated func footprint(of release: ReleaseReference) -> ReleaseFootprint {
        ReleaseFootprint(
            identifier: release.identifier,
            directory: parentDirectory(of: filesDirectory(of: release)),
            socket: socketPath(of: release))
    }
}
