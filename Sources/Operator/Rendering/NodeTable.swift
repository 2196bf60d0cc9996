// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import UpgradeModel

/// The nodes of a run, one row a node.
enum NodeTable {
    private static let columns = [
        Table.Column(title: "NODE", rank: 0, atMost: 24),
        Table.Column(title: "BATCH", alignment: .right, rank: 6),
        Table.Column(title: "STEP", rank: 1, atMost: 11),
        Table.Column(title: "RELEASE", rank: 2, atMost: 24),
        Table.Column(title: "GATE", rank: 3),
        Table.Column(title: "HELD", alignment: .right, rank: 5),
        Table.Column(title: "IN FLIGHT", alignment: .right, rank: 7),
        Table.Column(title: "SEEN", alignment: .right, rank: 4),
        Table.Column(title: "NOTE", rank: 8, atMost: 200, isText: true),
    ]

    /// At most `rows` nodes, those that need looking at first; a last line counts those that are left out.
    ///
    /// - Parameter all: how many nodes there are, when not all of them are given.
    static func lines(
        _ nodes: [NodeRow], of all: Int, width: Int, rows limit: Int = .max
    ) -> [StyledLine] {
        let isCut = all > limit
        let shown =
            isCut
            ? Array(nodes.sorted(by: NodeRow.isMoreUrgent).prefix(max(1, limit - 1))) : nodes
        let names = ReleaseNames(nodes.compactMap(\.status?.active?.release))
        let table = Table(columns: columns, rows: shown.map { row($0, names) })
        let rest = all - shown.count
        return table.lines(width: width)
            + (rest > 0 ? [StyledLine("… and \(counted(rest, "more node"))", .faint)] : [])
    }

    private static func row(_ node: NodeRow, _ names: ReleaseNames) -> [Table.Cell] {
        let gate = node.status?.gate
        return [
            Table.Cell(node.name.rawValue, node.standing == .quarantined ? .bad : .plain),
            Table.Cell(node.batch.map { "\($0)" } ?? ""),
            step(node),
            Table.Cell(names.text(node.status)),
            self.gate(gate),
            Table.Cell(gate.map { "\(sum([$0.writesWaiting, $0.readsWaiting]))" } ?? ""),
            Table.Cell(gate.map { $0.writesInFlight.map { "\($0)" } ?? "unknown" } ?? ""),
            seen(node.lastSeen),
            Table.Cell(note(node), node.standing == .quarantined ? .bad : .faint),
        ]
    }

    private static func step(_ node: NodeRow) -> Table.Cell {
        if node.standing == .quarantined { return Table.Cell("quarantined", .bad) }
        switch node.reached {
        case true?: return Table.Cell("reached", .good)
        case false?: return Table.Cell("waiting", .active)
        case nil: return Table.Cell("-", .faint)
        }
    }

    static func gate(_ gate: GateObservation?) -> Table.Cell {
        guard let gate else { return "?" }
        if gate.readsHeld { return Table.Cell("hold all", .warning) }
        switch gate.writes {
        case .open: return Table.Cell("open")
        case .hold: return Table.Cell("hold", .warning)
        case .refuse: return Table.Cell("refuse", .warning)
        }
    }

    static func seen(_ span: Span?) -> Table.Cell {
        guard let span else { return Table.Cell("never", .bad) }
        // A status is due every ten seconds at the latest.
        return Table.Cell(
            span < .seconds(1) ? "now" : span.text, span > .seconds(30) ? .bad : .plain)
    }

    private static func note(_ node: NodeRow) -> String {
        if let warning = node.warning { return warning }
        if let reason = node.reason { return reason }
        return node.status.map(note) ?? ""
    }

    /// What a status says that a person should know.
    static func note(_ status: NodeStatus) -> String {
        if let opened = status.breakGlass { return "opened by hand: \(opened)" }
        if let failure = status.failures.first { return failure.message }
        if let failure = status.silenced?.failure { return failure }
        if let late = status.silenced?.late {
            return "after the lift ran, and was ended: \(late.description)"
        }
        if let task = status.tasks.first(where: { $0.state == .failed || $0.state == .unknown }) {
            return "\(task.identity) \(task.state.rawValue)"
        }
        if let staging = status.staging, staging.bytesDone < staging.bytesTotal {
            return "staging \(bytes(staging.bytesDone)) of \(bytes(staging.bytesTotal))"
        }
        if let task = status.tasks.first(where: { $0.state == .running }) {
            let line = task.output.split(separator: "\n").last
            return "runs \(task.identity)" + (line.map { ": \($0)" } ?? "")
        }
        if let health = status.health, health.state == .checking { return health.detail }
        return status.silenced.map(silence) ?? ""
    }

    /// The release that may write no more.
    private static func silence(_ silence: Silence) -> String {
        let name = silence.release?.title ?? "the old release"
        switch silence.state {
        case .idle, .failed: return ""
        case .waiting: return "silences \(name)"
        case .silent:
            let frozen = silence.frozen == 0 ? "nothing of it runs" : "\(silence.frozen) frozen"
            return "\(name) is silent: \(frozen)" + (silence.cut > 0 ? ", \(silence.cut) cut" : "")
        }
    }
}

/// Names of releases, with the beginning of their digest where two of one name are about.
struct ReleaseNames {
    private var ambiguous: Set<ReleaseName> = []

    init(_ releases: [ReleaseReference]) {
        var first: [ReleaseName: Digest] = [:]
        for release in releases {
            if let known = first[release.name], known != release.manifest {
                ambiguous.insert(release.name)
            }
            first[release.name] = release.manifest
        }
    }

    func text(_ release: ReleaseReference) -> String {
        ambiguous.contains(release.name)
            ? "\(release.title) \(release.manifest.hexadecimal.prefix(8))" : release.title
    }

    /// The release that a node serves.
    func text(_ status: NodeStatus?) -> String {
        guard let status else { return "?" }
        return status.active.map { text($0.release) } ?? "none"
    }
}
