// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// All processes of one release on this node: found anew at each look, since more may come at any time.
///
/// A process is of the release when it listens on its socket, was started for it (the variables of an action, which a daemon keeps),
/// runs a program of it, works in its directory, writes or has mapped a file of it, descends from such a process, or shares the control
/// group that is its application's alone. Never the agent and what it descends from, process 1, or a proxy; nor whatever serves another
/// release.
public struct ReleaseProcesses: Sendable {
    let release: ReleaseFootprint
    /// The other releases of the application on this node.
    let others: [ReleaseFootprint]

    public init(of release: ReleaseFootprint, others: [ReleaseFootprint]) {
        self.release = release
        self.others = others
    }

    /// Programs that pass requests on and are never of a release, whatever they have open: by the name that a process has, the
    /// name of its program's file.
    static let proxies = [
        "nginx": "nginx", "haproxy": "haproxy", "caddy": "caddy", "traefik": "traefik",
        "envoy": "envoy", "varnishd": "varnishd", "cache-main": "varnishd",
        "pgbouncer": "pgbouncer", "postgres": "postgres",
    ]

    /// A process may give itself any name (prctl(2)), and not the file that it runs: `nginx`, and `nginx.old` and `haproxy-2.8` as well.
    ///
    /// - Parameter program: the target of `/proc/PID/exe`; where it cannot be read, the name has to do.
    static func isProxy(named name: String, program: String?) -> Bool {
        guard let wanted = proxies[name] else { return false }
        guard let file = program?.split(separator: "/").last else { return true }
        return file.hasPrefix(wanted) && file.dropFirst(wanted.count).first?.isLetter != true
    }

    /// What a look has found.
    struct Found {
        var members: [ProcessIdentity: Member] = [:]
        /// What belongs to this release and to another one as well, so that it can be neither stopped nor left.
        var shared: [Member] = []
        /// Process groups that have a member which is not of the release.
        var mixedGroups: Set<Int32> = []
        /// Somebody listens on the release's socket, and no process is seen that does.
        var isListenerHidden = false
    }

    struct Member {
        var status: ProcessStatus
        var mark: ProcessMark

        /// `gunicorn 4711 (listens on its socket)`
        var description: String { "\(status.name) \(status.number) (\(mark.rawValue))" }

        /// The same with whom it is connected to: a session in the database is known by the port that it comes from.
        var descriptionWithConnections: String {
            let connections = TCPConnections.of(ProcessDetails(number: status.number)).prefix(3)
                .map { "; connected to \($0.remote) from port \($0.local.port)" }
            return "\(status.name) \(status.number) (\(mark.rawValue)\(connections.joined()))"
        }
    }

    /// What earlier looks have read of processes, so that the looks of one freeze take milliseconds.
    ///
    /// A stranger that has just begun is read anew: it may be a child that is about to run a program of the release.
    final class Known {
        var details: [ProcessIdentity: ProcessDetails] = [:]
        var marks: [ProcessIdentity: ProcessMark?] = [:]
        /// Strangers that are more than two seconds old, and threads of the kernel.
        private(set) var strangers: [Int32: ProcessStatus] = [:]
        private var strangersSince = ContinuousClock.now

        /// Remembers old strangers and forgets those that were younger than two seconds when they were read.
        ///
        /// For a moment only: a number may be another process's later.
        func settle(_ processes: [ProcessStatus], members: [ProcessIdentity: Member]) {
            if ContinuousClock.now - strangersSince > .milliseconds(500) {
                strangersSince = .now
                strangers = [:]
            }
            var time = timespec()
            clock_gettime(CLOCK_BOOTTIME, &time)
            // The kernel counts starts in hundredths of a second (proc_pid_stat(5), sysconf(_SC_CLK_TCK)).
            let since =
                UInt64(max(0, time.tv_sec - 2)) * UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
            for process in processes {
                let isYoung = process.identity.start >= since
                if process.isOfKernel || (!isYoung && members[process.identity] == nil) {
                    strangers[process.number] = process
                } else if isYoung, marks[process.identity] == .some(nil) {
                    marks[process.identity] = nil
                    details[process.identity] = nil
                }
            }
        }
    }

    /// Looks at every process of the machine, or, with what is known of them, at those that are new.
    func look(_ known: Known = Known()) -> Found {
        let table = ProcessTable.all(known: known.strangers)
        let processes = table.filter { !$0.isOfKernel && !$0.isOver }
        let sockets = UnixSocketTable.now()
        let listeners = sockets?.listeners(at: release.socket) ?? []
        let untouchable = untouchable(among: processes)
        let candidates = processes.filter { !untouchable.contains($0.number) }

        var marks: [Int32: ProcessMark] = [:]
        for process in candidates {
            let mark: ProcessMark?
            if let before = known.marks[process.identity] {
                mark = before
            } else {
                mark = release.mark(
                    of: process, details(of: process, known), listeners: listeners)
                known.marks[process.identity] = .some(mark)
            }
            marks[process.number] = mark
        }
        let serving = othersServing(candidates, sockets, marks, known)
        var found = Found()
        for process in candidates where serving.contains(process.number) {
            guard marks.removeValue(forKey: process.number) != nil,
                let own = release.ownMark(
                    of: process, details(of: process, known), listeners: listeners)
            else { continue }
            found.shared.append(Member(status: process, mark: own))
        }
        addDescendants(of: &marks, among: candidates, sparing: serving)
        addControlGroups(of: &marks, among: processes, untouchable.union(serving))
        for process in candidates {
            guard let mark = marks[process.number] else { continue }
            found.members[process.identity] = Member(status: process, mark: mark)
        }
        for process in processes where found.members[process.identity] == nil {
            found.mixedGroups.insert(process.group)
        }
        let isSeen = found.members.values.contains {
            details(of: $0.status, known).holds(listeners)
        }
        known.settle(table, members: found.members)
        found.isListenerHidden = !listeners.isEmpty && !isSeen && found.shared.isEmpty
        return found
    }

    private func details(of process: ProcessStatus, _ known: Known) -> ProcessDetails {
        if let details = known.details[process.identity] { return details }
        let details = ProcessDetails(number: process.number)
        known.details[process.identity] = details
        return details
    }

    /// The agent, everything that it descends from, process 1, and proxies.
    private func untouchable(among processes: [ProcessStatus]) -> Set<Int32> {
        let parents = Dictionary(
            processes.map { ($0.number, $0.parent) }, uniquingKeysWith: { first, _ in first })
        var spared: Set<Int32> = [0, 1]
        var next = getpid()
        while spared.insert(next).inserted { next = parents[next] ?? 1 }
        for process in processes where ReleaseProcesses.proxies[process.name] != nil {
            let program = ProcessDetails(number: process.number).link("exe")
            // A release may bring its own (an application that is a Caddy), with itself in it.
            if ReleaseProcesses.isProxy(named: process.name, program: program),
                program.map(release.contains) != true
            {
                spared.insert(process.number)
            }
        }
        return spared
    }

    /// What serves another release, with everything that it descends from and that descends from it: a supervisor that started both
    /// hands the variables of the first on to the second.
    private func othersServing(
        _ processes: [ProcessStatus], _ sockets: UnixSocketTable?, _ marks: [Int32: ProcessMark],
        _ known: Known
    ) -> Set<Int32> {
        guard !others.isEmpty, !marks.isEmpty else { return [] }
        let listeners = others.reduce(into: Set<UInt64>()) { all, other in
            all.formUnion(sockets?.listeners(at: other.socket) ?? [])
        }
        var serving: [Int32: ProcessMark] = [:]
        for process in processes {
            let details = details(of: process, known)
            let isOther =
                details.holds(listeners) || others.contains { details.belongs(to: $0) }
            if isOther { serving[process.number] = .listener }
        }
        addDescendants(of: &serving, among: processes, sparing: [])
        let parents = Dictionary(
            processes.map { ($0.number, $0.parent) }, uniquingKeysWith: { first, _ in first })
        var all = Set(serving.keys)
        for number in serving.keys {
            var next = parents[number]
            while let parent = next, all.insert(parent).inserted { next = parents[parent] }
        }
        return all
    }

    private func addDescendants(
        of marks: inout [Int32: ProcessMark], among processes: [ProcessStatus],
        sparing spared: Set<Int32>
    ) {
        var hasGrown = true
        while hasGrown {
            hasGrown = false
            for process in processes
            where marks[process.number] == nil && !spared.contains(process.number)
                && marks[process.parent] != nil
            {
                marks[process.number] = .descendant
                hasGrown = true
            }
        }
    }

    /// The control group of whoever listens, when nobody else is in it: not the agent, whose own group has what its actions leave
    /// running, and no other release.
    private func addControlGroups(
        of marks: inout [Int32: ProcessMark], among processes: [ProcessStatus],
        _ strangers: Set<Int32>
    ) {
        let groups = Set(
            marks.filter { $0.value == .listener }.keys
                .compactMap { ProcessDetails(number: $0).controlGroup() }
        ).filter { $0.hasSuffix(".service") || $0.hasSuffix(".scope") }
        guard !groups.isEmpty else { return }
        var members: [String: [Int32]] = [:]
        for process in processes {
            if let group = ProcessDetails(number: process.number).controlGroup(),
                groups.contains(group)
            {
                members[group, default: []].append(process.number)
            }
        }
        for numbers in members.values where strangers.isDisjoint(with: numbers) {
            for number in numbers where marks[number] == nil { marks[number] = .group }
        }
    }
}
