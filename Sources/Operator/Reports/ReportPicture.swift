// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel

/// A timeline: phases above, then the database, then one lane a node; the write window is shaded.
///
/// What a mark means is said by its shape as well as by its colour, and by a title on each.
struct ReportPicture {
    let report: RunReport
    let facts: ReportFacts
    let from: Instant
    let to: Instant
    /// For the identifiers of this picture on the page.
    let name: String
    let title: String

    private static let left = 130.0
    private static let right = 990.0
    private static let laneHeight = 18.0
    private static let top = 28.0
    /// More lanes are no picture any more; the table has them all.
    private static let mostNodes = 60

    private var nodes: [RunReport.NodeEntry] {
        if report.nodes.count <= ReportPicture.mostNodes { return report.nodes }
        // Those with something to tell first.
        func isUneventful(_ node: RunReport.NodeEntry) -> Bool {
            node.quarantine == nil && !node.milestones.contains { $0.kind == .failed }
        }
        return Array(
            (report.nodes.filter { !isUneventful($0) } + report.nodes.filter(isUneventful))
                .prefix(ReportPicture.mostNodes))
    }

    var figure: Markup {
        let omitted = report.nodes.count - nodes.count
        let caption =
            title + (omitted > 0 ? " (\(nodes.count) of \(report.nodes.count) nodes)" : "")
        return .element(
            "figure", [:], .element("figcaption", [:], text: caption),
            .element("div", ["class": "wide"], svg))
    }

    private var svg: Markup {
        .element(
            "svg",
            [
                "viewBox": "0 0 1000 \(format(height))", "role": "img",
                "aria-labelledby": "\(name)-title \(name)-description",
            ],
            [
                .element("title", ["id": "\(name)-title"], text: title),
                .element("desc", ["id": "\(name)-description"], text: description),
            ] + window + axis + phases + database
                + nodes.enumerated().flatMap {
                    lane($1, at: nodeTop + Double($0) * ReportPicture.laneHeight)
                })
    }

    private var databaseTop: Double { ReportPicture.top + 26 }
    private var nodeTop: Double { databaseTop + (report.database.isEmpty ? 4 : 26) }
    private var height: Double { nodeTop + Double(nodes.count) * ReportPicture.laneHeight + 6 }

    private var description: String {
        let phases = report.phases.map { "\(facts.describe($0)) \(($0.ended - $0.began).text)" }
        let window = report.window.map { " Writes were closed for \($0.text)." } ?? ""
        return "\(facts.title). Phases: \(phases.joined(separator: ", ")).\(window)"
    }

    // MARK: Parts

    private var window: [Markup] {
        guard let opened = report.windowOpened else { return [] }
        let start = x(opened)
        let end = x(report.windowClosed ?? to)
        let lines = [opened, report.windowClosed].compactMap { $0 }.filter {
            $0 >= from && $0 <= to
        }
        return [
            .element(
                "rect",
                [
                    "class": "window", "x": format(start), "y": "0",
                    "width": format(max(1, end - start)),
                    "height": format(height),
                ],
                .element("title", [:], text: "write window \(report.window?.text ?? "still open")"))
        ]
            + lines.map {
                .element(
                    "line",
                    [
                        "class": "edge", "x1": format(x($0)), "x2": format(x($0)), "y1": "0",
                        "y2": format(height),
                    ])
            }
    }

    private var axis: [Markup] {
        let length = max(1, (to - from).milliseconds)
        let step = ReportPicture.tick(length)
        let origin = report.createdAt.milliseconds
        var marks: [Markup] = []
        var time = ((from.milliseconds - origin) / step) * step
        while origin + time <= to.milliseconds {
            let instant = Instant(milliseconds: origin + time)
            if instant >= from {
                let tick = format(x(instant))
                // A label at an edge stays inside of the picture.
                let anchor = x(instant) > ReportPicture.right - 20 ? "end" : "middle"
                marks.append(
                    .element(
                        "line",
                        [
                            "class": "grid", "x1": tick, "x2": tick, "y1": "16",
                            "y2": format(height),
                        ]))
                marks.append(
                    .element(
                        "text", ["class": "soft", "x": tick, "y": "11", "text-anchor": anchor],
                        text: Span(milliseconds: time).text))
            }
            time += step
        }
        return marks
    }

    /// A round step of which at most ten fit.
    static func tick(_ length: Int64) -> Int64 {
        var scale: Int64 = 1
        while scale < Int64.max / 100 {
            for factor in [1, 2, 5] as [Int64] where length / (scale * factor) <= 10 {
                return scale * factor
            }
            scale *= 10
        }
        return scale
    }

    private var phases: [Markup] {
        [label("phases", at: ReportPicture.top + 13)]
            + report.phases.filter { $0.ended >= from && $0.began <= to }.flatMap { phase in
                bar(
                    from: phase.began, to: phase.ended, at: ReportPicture.top, height: 18,
                    class: phase.direction == .forward ? "forward" : "back",
                    text: facts.describe(phase),
                    title:
                        "\(facts.describe(phase)) \(facts.time(phase.began)), \((phase.ended - phase.began).text)"
                )
            }
    }

    private var database: [Markup] {
        guard !report.database.isEmpty else { return [] }
        return [label("database", at: databaseTop + 13)]
            + report.database.filter { ($0.ended ?? report.lastAt) >= from && $0.began <= to }
            .flatMap { entry in
                bar(
                    from: entry.began, to: entry.ended ?? report.lastAt, at: databaseTop,
                    height: 18,
                    class: entry.result == .failed
                        ? "failed" : entry.kind.isUndoing ? "back" : "forward",
                    text: (entry.database.map { "\($0): " } ?? "") + entry.kind.rawValue,
                    title: "\(facts.time(entry.began)) \(facts.describe(entry))")
            }
    }

    private func lane(_ node: RunReport.NodeEntry, at top: Double) -> [Markup] {
        let middle = top + ReportPicture.laneHeight / 2
        let line = Markup.element(
            "line",
            [
                "class": "lane", "x1": format(ReportPicture.left),
                "x2": format(ReportPicture.right),
                "y1": format(middle), "y2": format(middle),
            ])
        let marks = node.milestones.filter { $0.at >= from && $0.at <= to }.map {
            mark($0, of: node, at: middle)
        }
        return [line, label(node.name.rawValue, at: middle + 4)] + marks
    }

    private func mark(_ milestone: RunReport.Milestone, of node: RunReport.NodeEntry, at y: Double)
        -> Markup
    {
        let x = x(milestone.at)
        let step = milestone.step?.title ?? ""
        let sentence =
            "\(node.name) \(milestone.kind.rawValue): \(step), \(facts.time(milestone.at))\(milestone.reason.map { ", \($0)" } ?? "")"
        let title = Markup.element("title", [:], text: sentence)
        switch milestone.kind {
        case .reached, .readmitted:
            // The flip of a node is what one looks for: a diamond among dots.
            if milestone.step?.batchUpgraded != nil {
                return .element(
                    "path",
                    ["class": "reached", "d": "M\(format(x)) \(format(y - 6))l5 6l-5 6l-5 -6z"],
                    title)
            }
            return .element(
                "circle", ["class": "reached", "cx": format(x), "cy": format(y), "r": "3"], title)
        case .failed:
            return .element(
                "path",
                ["class": "cross", "d": "M\(format(x - 4)) \(format(y - 4))l8 8m0 -8l-8 8"], title)
        case .quarantined, .joined:
            return .element(
                "circle", ["class": "away", "cx": format(x), "cy": format(y), "r": "5"], title)
        }
    }

    private func bar(
        from begin: Instant, to end: Instant, at top: Double, height: Double, class kind: String,
        text: String,
        title: String
    ) -> [Markup] {
        let start = x(max(begin, from))
        let width = max(1, x(min(end, to)) - start - 1)
        let rectangle = Markup.element(
            "rect",
            [
                "class": kind, "x": format(start), "y": format(top), "width": format(width),
                "height": format(height), "rx": "2",
            ],
            .element("title", [:], text: title))
        // Letters of this size are some six units wide.
        guard Double(text.count) * 6 + 6 <= width else { return [rectangle] }
        return [
            rectangle,
            .element(
                "text", ["class": "onbar", "x": format(start + 4), "y": format(top + 13)],
                text: text),
        ]
    }

    private func label(_ text: String, at y: Double) -> Markup {
        .element(
            "text", ["x": format(ReportPicture.left - 8), "y": format(y), "text-anchor": "end"],
            text: fitted(text, to: 19))
    }

    private func x(_ instant: Instant) -> Double {
        let length = Double(max(1, (to - from).milliseconds))
        let share = Double((instant - from).milliseconds) / length
        return ReportPicture.left + min(max(share, 0), 1)
            * (ReportPicture.right - ReportPicture.left)
    }

    /// With one digit after the point, so that the same report gives the same page.
    private func format(_ number: Double) -> String {
        let tenths = Int((number * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
    }
}

extension DatabaseTask.Kind {
    fileprivate var isUndoing: Bool { self == .revertMigrate || self == .revertExpand }
}
