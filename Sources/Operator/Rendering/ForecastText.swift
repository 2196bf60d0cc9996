// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel

/// What a plan will do, for people.
enum ForecastText {
    static func lines(_ forecast: Forecast, width: Int) -> [StyledLine] {
        var lines = head(forecast)
        lines += nodes(forecast, width: width)
        lines += [StyledLine(""), StyledLine("what happens, in this order", .strong)]
        lines += steps(forecast.steps, width: width)
        lines += [
            StyledLine(""),
            StyledLine("when anything fails before the lift, this is undone", .strong),
        ]
        lines += steps(forecast.undo, width: width)
        lines += findings(forecast.findings, width: width)
        return lines
    }

    private static func head(_ forecast: Forecast) -> [StyledLine] {
        let release = forecast.release
        return [
            StyledLine("\(forecast.fleet) to \(release.name)", .strong)
                + StyledLine(
                    "  \(counted(forecast.files, "file")), \(bytes(forecast.bytes)), manifest \(release.manifest.short)",
                    .faint)
        ]
    }

    private static func nodes(_ forecast: Forecast, width: Int) -> [StyledLine] {
        if forecast.nodes.isEmpty {
            return [StyledLine("nodes: not known without the coordinator", .warning)]
        }
        let shown = forecast.nodes.prefix(50)
        let table = Table(
            columns: [
                Table.Column(title: "NODE", atMost: 24),
                Table.Column(title: "BATCH", alignment: .right),
                Table.Column(title: "SERVES", rank: 1), Table.Column(title: "WILL", rank: 2),
            ],
            rows: shown.map { node in
                [
                    Table.Cell(node.name.rawValue), Table.Cell("\(node.batch)"),
                    Table.Cell(node.release?.rawValue ?? "?"),
                    node.isUpToDate
                        ? Table.Cell("serve it anew", .faint)
                        : Table.Cell("serve \(forecast.release.name)"),
                ]
            })
        let rest = forecast.nodes.count - shown.count
        return table.lines(width: width)
            + (rest > 0 ? [StyledLine("… and \(counted(rest, "more node"))", .faint)] : [])
    }

    private static func steps(_ steps: [Forecast.PlannedLine], width: Int) -> [StyledLine] {
        var lines: [StyledLine] = []
        var phase: Phase?
        for step in steps {
            let name = step.phase == phase ? "" : step.phase.rawValue
            phase = step.phase
            let column = name + String(repeating: " ", count: 11 - name.count)
            lines.append(
                StyledLine(column, step.phase.isInWriteWindow ? .warning : .active)
                    + StyledLine(step.title))
            for detail in step.details {
                for part in wrapped(printable(detail), to: max(20, width - 15)) {
                    lines.append(StyledLine(String(repeating: " ", count: 15) + part, .faint))
                }
            }
        }
        return lines
    }

    static func findings(_ findings: [Diagnostic], width: Int) -> [StyledLine] {
        if findings.isEmpty { return [] }
        return [StyledLine("")]
            + findings.map { finding in
                StyledLine(
                    printable(finding.description), finding.severity == .error ? .bad : .warning)
            }
    }
}
