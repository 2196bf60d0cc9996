// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel

/// A report as lines.
struct ReportText {
    private let report: RunReport
    private let facts: ReportFacts

    init(_ report: RunReport) {
        self.report = report
        facts = ReportFacts(report: report)
    }

    func lines(width: Int) -> [StyledLine] {
        [StyledLine(facts.title, .strong)] + summary(width) + section("phases", phases(width))
            + section("nodes", nodes(width))
            + section("warnings", facts.nodeWarnings.flatMap { indented($0, width) })
            + section("held and refused", gates(width)) + section("database", database(width))
            + section("migration tool", tools(width))
            + section("census", facts.census.flatMap { indented($0, width) })
            + section(
                "what went wrong", timed(report.troubles.map { ($0.at, $0.message) }, width)
            )
            + section("requests", timed(report.requests.map { ($0.at, $0.message) }, width))
    }

    private func section(_ title: String, _ lines: [StyledLine]) -> [StyledLine] {
        lines.isEmpty ? [] : ["", StyledLine(title, .strong)] + lines
    }

    private func summary(_ width: Int) -> [StyledLine] {
        let column = 24
        return facts.summary.flatMap { row in
            lines(row.value, to: max(20, width - column)).enumerated().map {
                index, text in
                let label = index == 0 ? row.label : ""
                let blank = String(repeating: " ", count: column - label.count)
                let role: StyledLine.Role =
                    row.label == "outcome" ? report.state.role : row.isStrong ? .strong : .plain
                return StyledLine(label + blank, .faint) + StyledLine(text, role)
            }
        }
    }

    private func phases(_ width: Int) -> [StyledLine] {
        Table(
            columns: [
                Table.Column(title: "PHASE"), Table.Column(title: "BEGAN", alignment: .right),
                Table.Column(title: "TOOK", alignment: .right),
            ],
            rows: report.phases.map { phase in
                [
                    Table.Cell(facts.describe(phase), phase.direction == .back ? .warning : .plain),
                    Table.Cell(facts.time(phase.began)),
                    Table.Cell((phase.ended - phase.began).text),
                ]
            }
        ).lines(width: width)
    }

    private func nodes(_ width: Int) -> [StyledLine] {
        let goals = ReportFacts.nodeSteps.enumerated().map { index, goal in
            Table.Column(
                title: goal.title.uppercased(), alignment: .right, rank: [6, 2, 5, 0, 4, 3][index])
        }
        return Table(
            columns: [
                Table.Column(title: "NODE", atMost: 24),
                Table.Column(title: "BATCH", alignment: .right, rank: 7),
            ]
                + goals + [Table.Column(title: "NOTE", rank: 1, atMost: 200, isText: true)],
            rows: report.nodes.map { node in
                [Table.Cell(node.name.rawValue), Table.Cell(node.batch.map { "\($0)" } ?? "")]
                    + facts.reached(node).map { Table.Cell($0) }
                    + [Table.Cell(node.quarantine.map { "quarantined: \($0)" } ?? "", .bad)]
            }
        ).lines(width: width)
    }

    private func gates(_ width: Int) -> [StyledLine] {
        let gates = facts.gates
        guard !gates.rows.isEmpty else { return [] }
        return Table(
            columns: gates.titles.enumerated().map { index, title in
                index == 0
                    ? Table.Column(title: title.uppercased(), atMost: 24)
                    : Table.Column(
                        title: title.uppercased(), alignment: .right,
                        rank: [0, 1, 2, 5, 3, 6, 4, 7][index])
            },
            rows: gates.rows.map { $0.map { Table.Cell($0) } }
        ).lines(width: width)
    }

    private func database(_ width: Int) -> [StyledLine] {
        report.database.flatMap { entry in
            timed([(entry.began, facts.describe(entry))], width)
                + facts.details(entry).flatMap { indented($0, width) }
        }
    }

    private func tools(_ width: Int) -> [StyledLine] {
        facts.tools.flatMap { entry in
            timed([(entry.at, entry.text)], width) + entry.said.flatMap { indented($0, width) }
        }
    }

    private func timed(_ lines: [(Instant, String)], _ width: Int) -> [StyledLine] {
        lines.flatMap { instant, text in
            self.lines(text, to: max(20, width - 12)).enumerated().map { index, part in
                let time = index == 0 ? facts.time(instant) : ""
                let blank = String(repeating: " ", count: max(2, 12 - time.count))
                return StyledLine(time + blank, .faint) + StyledLine(part)
            }
        }
    }

    private func indented(_ text: String, _ width: Int) -> [StyledLine] {
        lines(text, to: max(20, width - 12)).map {
            StyledLine(String(repeating: " ", count: 12) + $0)
        }
    }

    /// A text's own lines, each broken where it is too long.
    private func lines(_ text: String, to width: Int) -> [String] {
        printableLines(text).flatMap { wrapped($0, to: width) }
    }
}
