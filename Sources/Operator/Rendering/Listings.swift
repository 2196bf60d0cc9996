// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import UpgradeModel

/// The runs there are, newest first.
enum RunListing {
    static func lines(_ runs: [RunSummary], width: Int) -> [StyledLine] {
        if runs.isEmpty { return ["no run yet; begin one with: sluice apply PLAN"] }
        let table = Table(
            columns: [
                Table.Column(title: "RUN", rank: 0, atMost: 64),
                Table.Column(title: "FLEET", rank: 2),
                Table.Column(title: "RELEASE", rank: 1), Table.Column(title: "STATE", rank: 0),
                Table.Column(title: "PHASE", rank: 3), Table.Column(title: "BEGAN", rank: 4),
                Table.Column(title: "BY", rank: 5),
            ],
            rows: runs.map { run in
                [
                    Table.Cell(run.run.rawValue), Table.Cell(run.fleet.rawValue),
                    Table.Cell(run.release.rawValue), Table.Cell(run.state.title, run.state.role),
                    Table.Cell(run.phase.rawValue), Table.Cell(run.createdAt.text),
                    Table.Cell(run.startedBy.rawValue),
                ]
            })
        return table.lines(width: width)
    }
}

/// The nodes that the coordinator knows, whether they take part in a run or not.
enum NodeListing {
    static func lines(_ nodes: [NodeView], width: Int) -> [StyledLine] {
        if nodes.isEmpty {
            return ["no node yet; make a token for one with: sluice token create --node NAME"]
        }
        let names = ReleaseNames(nodes.compactMap(\.status?.active?.release))
        let table = Table(
            columns: [
                Table.Column(title: "NODE", rank: 0, atMost: 24),
                Table.Column(title: "RELEASE", rank: 1, atMost: 24),
                Table.Column(title: "GATE", rank: 2),
                Table.Column(title: "SEEN", alignment: .right, rank: 3),
                Table.Column(title: "AGENT", rank: 6, atMost: 12),
                Table.Column(title: "DISK FREE", alignment: .right, rank: 7),
                Table.Column(title: "RUN", rank: 4),
                Table.Column(title: "LABELS", rank: 5, atMost: 60),
                Table.Column(title: "NOTE", rank: 8, atMost: 200, isText: true),
            ],
            rows: nodes.map { node in
                [
                    Table.Cell(node.name.rawValue),
                    Table.Cell(names.text(node.status)),
                    NodeTable.gate(node.status?.gate), NodeTable.seen(node.lastSeen),
                    Table.Cell(node.status?.agentVersion ?? ""),
                    Table.Cell(node.status.map { bytes($0.diskFree) } ?? ""),
                    Table.Cell(node.run?.rawValue ?? ""), Table.Cell(labels(node.labels)),
                    Table.Cell(node.warning ?? node.status.map(NodeTable.note) ?? ""),
                ]
            })
        return table.lines(width: width)
    }

    private static func labels(_ labels: [String: String]) -> String {
        labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
    }
}
