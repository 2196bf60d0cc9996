// SPDX-License-Identifier: Apache-2.0

internal import ContentDigest
internal import FoundationEssentials
internal import UpgradeEngine
internal import UpgradeModel

/// A report as one page that loads nothing, runs nothing, and shows every text from outside as text.
struct ReportPage {
    private let report: RunReport
    private let facts: ReportFacts

    init(_ report: RunReport) {
        self.report = report
        facts = ReportFacts(report: report)
    }

    var text: String {
        Markup.page(
            title: facts.title, style: ReportStyle.sheet, policy: ReportPage.policy,
            [.element("main", [:], [header, pictures] + sections)])
    }

    /// Nothing is allowed but the page's own style sheet, known by its digest.
    static var policy: String {
        let digest = Digest.sha256(of: "\(ReportStyle.sheet)")
        return
            "default-src 'none'; style-src 'sha256-\(Data(digest.bytes).base64EncodedString())'; base-uri 'none'; form-action 'none'"
    }

    private var header: Markup {
        .element(
            "header", [:],
            .element("h1", [:], text: facts.title),
            .element(
                "dl", ["class": "summary"],
                facts.summary.map { row in
                    .element(
                        "div",
                        [
                            "class": row.label == "outcome"
                                ? "outcome \(report.state.rawValue)"
                                : row.isStrong ? "strong" : "row"
                        ],
                        .element("dt", [:], text: row.label), .element("dd", [:], text: row.value))
                }))
    }

    private var pictures: Markup {
        var pictures = [
            ReportPicture(
                report: report, facts: facts, from: report.createdAt,
                to: report.endedAt ?? report.lastAt,
                name: "run", title: "The whole run"
            ).figure
        ]
        if let opened = report.windowOpened {
            let closed = report.windowClosed ?? facts.windowShown
            // A little before and after, so that its edges can be seen.
            let margin = Span(milliseconds: max(1, (closed - opened).milliseconds / 12))
            pictures.append(
                ReportPicture(
                    report: report, facts: facts,
                    from: Instant(milliseconds: opened.milliseconds - margin.milliseconds),
                    to: closed + margin, name: "window",
                    title: "The write window"
                        + (report.window.map { ", \($0.text)" } ?? ", writes are still closed")
                ).figure)
        }
        return .element("section", ["aria-label": "Timelines"], pictures)
    }

    private var sections: [Markup] {
        [
            section("Phases", table(["phase", "began", "took"], phases)),
            section(
                "Nodes",
                table(
                    ["node", "batch", "before"] + ReportFacts.nodeSteps.map(\.title) + ["note"],
                    nodes)),
            section("Warnings", list(facts.nodeWarnings.map { [.escaped($0)] })),
            section("Held and refused", table(facts.gates.titles, facts.gates.rows)),
            section("Database", list(database)),
            section("Migration tool", list(tools)),
            section("Census", list(facts.census.map { [.escaped($0)] })),
            section(
                "What went wrong",
                table(
                    ["when", "what"],
                    report.troubles.map { [facts.time($0.at), $0.message] })),
            section(
                "Requests",
                table(
                    ["when", "what"],
                    report.requests.map { [facts.time($0.at), $0.message] })),
            section(
                "Steps",
                table(
                    ["phase", "step", "began", "took"],
                    report.steps.map { step in
                        [
                            (step.direction == .back ? "undo " : "") + step.phase.rawValue,
                            step.title,
                            facts.time(step.began),
                            step.ended.map { ($0 - step.began).text } ?? "not completed",
                        ]
                    })),
        ].compactMap { $0 }
    }

    private var phases: [[String]] {
        report.phases.map {
            [facts.describe($0), facts.time($0.began), ($0.ended - $0.began).text]
        }
    }

    private var nodes: [[String]] {
        report.nodes.map { node in
            [node.name.rawValue, node.batch.map { "\($0)" } ?? "", node.before?.rawValue ?? ""]
                + facts.reached(node) + [node.quarantine.map { "quarantined: \($0)" } ?? ""]
        }
    }

    private var database: [[Markup]] {
        report.database.map { timed($0.began, facts.describe($0), facts.details($0)) }
    }

    private var tools: [[Markup]] { facts.tools.map { timed($0.at, $0.text, $0.said) } }

    /// What was at a time, and the lines that belong to it.
    private func timed(_ instant: Instant, _ text: String, _ details: [String]) -> [Markup] {
        let head = Markup.element(
            "p", [:], .element("span", ["class": "time"], text: facts.time(instant)),
            .escaped(" " + text))
        return [head]
            + (details.isEmpty
                ? [] : [.element("ul", [:], details.map { .element("li", [:], text: $0) })])
    }

    private func section(_ title: String, _ content: Markup?) -> Markup? {
        content.map { .element("section", [:], .element("h2", [:], text: title), $0) }
    }

    private func list(_ items: [[Markup]]) -> Markup? {
        items.isEmpty
            ? nil : .element("ul", ["class": "plain"], items.map { .element("li", [:], $0) })
    }

    private func table(_ titles: [String], _ rows: [[String]]) -> Markup? {
        if rows.isEmpty { return nil }
        let head = Markup.element(
            "tr", [:], titles.map { .element("th", ["scope": "col"], text: $0) })
        let body = rows.map { row in
            Markup.element(
                "tr", [:],
                row.enumerated().map { index, text in
                    index == 0
                        ? .element("th", ["scope": "row"], text: text)
                        : .element("td", [:], text: text)
                })
        }
        return .element(
            "div", ["class": "wide"],
            .element("table", [:], .element("thead", [:], head), .element("tbody", [:], body)))
    }
}
