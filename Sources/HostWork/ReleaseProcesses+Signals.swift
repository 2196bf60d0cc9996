// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What has become of a release's processes on this node.
public struct SilenceOutcome: Hashable, Sendable {
    /// How many there are in the state that was asked for; of those that were ended, how many there were.
    public var processes: Int
    /// Why the release is not certainly in that state: what, and what to do. `nil` when it is.
    public var problem: String?
    /// Some of them, for people: `gunicorn 4711 (listens on its socket)`.
    public var examples: [String]
    /// Of those that were ended, those that could run when they were found, each with whom it was connected to.
    public var running: [String]
    /// Of those that were frozen, the TCP connections that they have opened, as lsof(8) writes them, `10.0.0.7:41218->10.0.0.5:5432`;
    /// before them the processes of a PostgreSQL server that their unix sockets lead to, `postgres:4711@1764460000.12`.
    public var connections: [String]

    public init(
        processes: Int, problem: String? = nil, examples: [String] = [], running: [String] = [],
        connections: [String] = []
    ) {
        self.connections = connections
        self.processes = processes
        self.problem = problem
        self.examples = examples
        self.running = running
    }
}

extension ReleaseProcesses {
    /// Stops every process of the release, and says so when none of them can run any more: each thread of each is stopped, and a look
    /// after that has found no other.
    ///
    /// They keep all that they have and go on after ``thaw()`` as if nothing had been. What forks meanwhile is found by the next look.
    /// Safe to repeat.
    public func freeze(within limit: Duration = .seconds(10)) async -> SilenceOutcome {
        let deadline = ContinuousClock.now + limit
        let known = Known()
        var clean = 0
        while true {
            let found = look(known)
            var isDone = true
            for member in found.members.values where !member.status.isStopped {
                send(SIGSTOP, to: member.status.identity)
                isDone = false
            }
            isDone = isDone && found.members.keys.allSatisfy(ProcessTable.isWhollyStopped)
            // A child that was made while its parent was being stopped is seen by the look after the one that saw the parent stopped.
            clean = isDone ? clean + 1 : 0
            if clean == 2 {
                var outcome = outcome(found, problem(found))
                // Read anew: a look may be older than what was opened last.
                let frozen = found.members.keys.map { ProcessDetails(number: $0.number) }
                outcome.connections =
                    ServerProcesses.connected(to: frozen)
                    + Set(TCPConnections.of(frozen).map(\.description)).sorted()
                return outcome
            }
            if ContinuousClock.now >= deadline {
                let running = found.members.values.filter { !$0.status.isStopped }
                return outcome(
                    found,
                    problem(found)
                        ?? "not every process stops: \(list(running.isEmpty ? Array(found.members.values) : running)); "
                        + "one that waits for a disk or is traced cannot be stopped, so end it by hand"
                )
            }
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    /// Lets every process of the release go on.
    public func thaw() async -> SilenceOutcome {
        for _ in 0..<100 {
            let found = look()
            let stopped = found.members.values.filter { $0.status.isStopped }
            guard !stopped.isEmpty else { return outcome(found, nil) }
            for member in stopped { send(SIGCONT, to: member.status.identity) }
            try? await Task.sleep(for: .milliseconds(1))
        }
        let found = look()
        let stopped = found.members.values.filter { $0.status.isStopped }
        return outcome(
            found,
            stopped.isEmpty
                ? nil : "not every process goes on: \(list(stopped)); kill -CONT it by hand")
    }

    /// Ends every process of the release without letting it run again: a stopped one never acts upon what waits for it.
    ///
    /// One that runs, because something has started it again, is stopped first.
    public func end(within limit: Duration = .seconds(30)) async -> SilenceOutcome {
        let deadline = ContinuousClock.now + limit
        var known = Known()
        var ended: Set<ProcessIdentity> = []
        var clean = 0
        var examples: [String] = []
        var running: [String] = []
        while true {
            let found = look(known)
            // All are stopped before the first is ended: none sees another go.
            let new = found.members.values.filter { !$0.status.isStopped }
            for member in new { send(SIGSTOP, to: member.status.identity) }
            running += new.filter { !ended.contains($0.status.identity) }
                .sorted { $0.status.number < $1.status.number }.map(\.descriptionWithConnections)
            if examples.isEmpty { examples = describe(Array(found.members.values)) }
            ended.formUnion(found.members.keys)
            kill(found)
            clean = found.members.isEmpty ? clean + 1 : 0
            if clean == 1 { known = Known() }
            let problem = problem(found)
            if clean == 2 || ContinuousClock.now >= deadline {
                let left =
                    clean == 2
                    ? nil
                    : "processes of it come back again and again: \(list(Array(found.members.values))); "
                        + "stop what starts them (systemctl stop, supervisorctl stop)"
                return SilenceOutcome(
                    processes: ended.count, problem: problem ?? left, examples: examples,
                    running: running)
            }
            try? await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Ends stopped processes so that none of them runs again.
    ///
    /// When a process ends whose children are in another group of its session, or the last one that ties its own group to the
    /// session, the kernel sends SIGHUP and SIGCONT to what is stopped in that group (setpgid(2), "orphaned"): whatever ignores or handles
    /// SIGHUP would go on. So children come before their parents, and each group is ended by one call, within which the kernel lets
    /// nobody end.
    private func kill(_ found: Found) {
        let byNumber = Dictionary(
            found.members.values.map { ($0.status.number, $0.status) }, uniquingKeysWith: { $1 })
        func depth(_ process: ProcessStatus) -> Int {
            var depth = 0
            var next = byNumber[process.parent]
            while let parent = next, depth < 1000 {
                depth += 1
                next = byNumber[parent.parent]
            }
            return depth
        }
        let depths = byNumber.mapValues(depth)
        let groups = Dictionary(grouping: byNumber.values, by: \.group)
            .sorted { left, right in
                let least = { (group: [ProcessStatus]) in
                    group.map { depths[$0.number] ?? 0 }.min() ?? 0
                }
                return (least(left.value), left.key) > (least(right.value), right.key)
            }
        for (group, members) in groups {
            if group > 1, group != getpgrp(), !found.mixedGroups.contains(group) {
                Glibc.kill(-group, SIGKILL)
                continue
            }
            for member in members.sorted(by: { (depths[$0.number] ?? 0) > (depths[$1.number] ?? 0) }
            ) {
                send(SIGKILL, to: member.identity)
            }
        }
    }

    /// How many processes of the release are there, and whether one of them can run.
    public func census() -> (processes: Int, running: Int, examples: [String]) {
        let found = look()
        let running = found.members.values.filter { !$0.status.isStopped }
        return (found.members.count, running.count, describe(Array(running)))
    }

    private func problem(_ found: Found) -> String? {
        if !found.shared.isEmpty {
            return
                "\(list(found.shared)) serves another release as well, so it can be neither stopped nor left; "
                + "let each release have processes of its own"
        }
        if found.isListenerHidden {
            return
                "somebody listens on \(release.socket) and cannot be seen; run the agent as root, on the host itself"
        }
        return nil
    }

    /// The number may be another process's by now; its start says whether.
    private func send(_ signal: Int32, to process: ProcessIdentity) {
        guard process.number > 1, process.number != getpid(),
            ProcessStatus(number: process.number)?.identity == process
        else { return }
        Glibc.kill(process.number, signal)
    }

    private func outcome(_ found: Found, _ problem: String?) -> SilenceOutcome {
        SilenceOutcome(
            processes: found.members.count, problem: problem,
            examples: describe(Array(found.members.values)))
    }

    private func describe(_ members: [Member]) -> [String] {
        members.sorted { $0.status.number < $1.status.number }.prefix(5).map(\.description)
    }

    private func list(_ members: [Member]) -> String {
        let examples = describe(members).joined(separator: ", ")
        return members.count > 5 ? "\(examples) and \(members.count - 5) more" : examples
    }
}
