// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// What the keys of one plan say together: contradictions (errors) and what is probably not meant
/// (warnings). Each check asks only for what it needs, so that it works beside other errors.
struct PlanChecks {
    let values: DocumentValues
    var findings: Findings

    init(values: DocumentValues, findings: Findings) {
        self.values = values
        self.findings = findings
    }

    mutating func run() {
        checkSelection()
        checkRelease()
        checkWrites()
        checkReads()
        checkSessions()
        checkDatabase()
        checkRollout()
        checkStart()
        checkFailureBudget()
        checkApprovals()
        for hook in values.sections("hooks") ?? [] { check(hook: hook) }
        check(pausing: "workers", "pause", "resume")
        check(pausing: "application.mode", "read_only", "normal")
    }

    // MARK: What is upgraded

    private mutating func checkSelection() {
        guard values.isGiven("nodes") else { return }
        let forms = ["nodes.names", "nodes.labels"].filter(values.isPresent)
        if forms.count == 2 {
            findings.error(
                "exclusive", at: values.position(of: "nodes.labels"),
                "nodes are selected by `names` and by `labels`", advice: "keep one of them")
        }
        let isEmpty =
            values.list("nodes.names")?.isEmpty ?? values.labels("nodes.labels")?.isEmpty
            ?? forms.isEmpty
        if isEmpty, !forms.contains(where: { values.isFaulty($0) }) {
            findings.error(
                "empty-selection", at: values.position(of: forms.first ?? "nodes"),
                "the plan selects no node; an empty selection is an error, never all",
                advice: "write `names: [web-1, web-2]`, or `labels:` with at least one label")
        }
    }

    private mutating func checkRelease() {
        checkSource()
        guard let name = values.text("release.name"), name == values.text("release.expected") else {
            return
        }
        findings.error(
            "same-release", at: values.position(of: "release.expected"),
            "`expected` is the new release itself",
            advice: "write the name of the release that the nodes are on now")
    }

    private mutating func checkSource() {
        guard values.isGiven("release"), let by = values.text("release.by") else { return }
        let isByActions = by == "actions"
        let needed = isByActions ? "release.version" : "release.bundle"
        if !values.isPresent(needed), !values.isFaulty(needed) {
            findings.error(
                "missing", at: values.position(of: "release"),
                "`release` has no `\(needed.dropFirst(8))`",
                advice: isByActions
                    ? "write what the nodes' actions call it, such as the digest of an image"
                    : "name the directory of the bundle, or write `by: actions` with a `version`")
        }
        warnOfNoEffect(
            isByActions ? ["release.bundle", "release.assets"] : ["release.version"],
            because: isByActions
                ? "the nodes' actions fetch the release" : "the release is a bundle")
        let version = values.text("release.version") ?? ""
        if version.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
            findings.error(
                "text", at: values.position(of: "release.version"),
                "a version is one line without control characters",
                advice: "write it as the nodes' `release.report` action prints it")
        }
    }

    // MARK: The write window

    private mutating func checkWrites() {
        if let after = values.span("writes.retry_after"), after.milliseconds % 1000 != 0 {
            findings.error(
                "range", at: values.position(of: "writes.retry_after"),
                "`Retry-After` has whole seconds, not \(after)", advice: "write such as `5s`")
        }
        switch values.text("writes.admission") {
        case "hold":
            warnOfNoEffect(["writes.message"], because: "writes are held, not refused")
            checkHold()
        case "refuse":
            warnOfNoEffect(
                ["writes.hold_for", "writes.hold_at_most"], because: "writes are refused, not held")
        default: break
        }
    }

    private mutating func checkHold() {
        guard let hold = values.span("writes.hold_for") else { return }
        let position = values.position(of: "writes.hold_for")
        if hold > .seconds(60) {
            findings.warning(
                "long-hold", at: position,
                "writes are held for \(hold), and browsers and proxies rarely wait longer than 60s",
                advice: "shorten `writes.hold_for`, or raise the proxies' timeouts above it")
        }
        if let pace = values.text("writes.pace").flatMap({ Int($0) }), pace > 0,
            let count = values.count("writes.hold_at_most"), count / pace > 60
        {
            findings.warning(
                "slow-pace", at: values.position(of: "writes.pace"),
                "\(count) held writes take \(count / pace)s at \(pace) a second, and clients rarely wait longer than 60s",
                advice: "raise `writes.pace`, lower `writes.hold_at_most`, or write `measured`")
        }
        for path in ["drain.timeout", "rollout.bake"] {
            guard let other = values.span(path), other > hold else { continue }
            findings.warning(
                "short-hold", at: values.position(of: path),
                "`\(path)` (\(other)) lies in the write window, and a write is held for \(hold) only",
                advice: "shorten it or lengthen `writes.hold_for`; beyond it writes get a 503")
        }
    }

    private mutating func checkReads() {
        switch values.text("reads.while_migrating") {
        case "serve":
            warnOfNoEffect(
                ["reads.hold_for", "reads.hold_at_most"], because: "reads are served, not held")
        case "hold" where !values.isPresent("database"):
            findings.warning(
                "no-effect", at: values.position(of: "reads.while_migrating"),
                "reads are held for a migration, and the plan has no database",
                advice: "remove `reads`, or add `database`")
        default: break
        }
    }

    private mutating func checkSessions() {
        guard values.isPresent("reads.sessions") else { return }
        let position = values.position(of: "reads.sessions")
        let marks = ["reads.sessions.cookie", "reads.sessions.header"].filter(values.isPresent)
        if marks.count != 1, !marks.contains(where: { values.isFaulty($0) }) {
            findings.error(
                marks.isEmpty ? "sessions" : "exclusive", at: position,
                marks.isEmpty
                    ? "nothing says by what a session is known"
                    : "a session is known by a cookie and by a header",
                advice:
                    "write one of `cookie: NAME` and `header: NAME`, the same as in sluice-http.conf"
            )
        }
        if !values.isPresent("database") {
            findings.warning(
                "no-effect", at: position,
                "sessions matter while a database is fenced, and the plan has none",
                advice: "remove `reads.sessions`, or add `database`")
        }
        if values.text("reads.sessions.while_fenced") == "serve" {
            warnOfNoEffect(
                ["reads.sessions.hold_for", "reads.sessions.hold_at_most"],
                because: "the reads of sessions are served, not held")
        }
    }

    private mutating func checkDatabase() {
        guard values.isPresent("database") else {
            warnOfNoEffect(["deadlines.migrate"], because: "the plan has no database")
            return
        }
        if let owner = values.text("database.owner"),
            let trusted = values.list("database.trusted"),
            let item = trusted.first(where: { $0.text == owner })
        {
            findings.warning(
                "trusted", at: item.position,
                "\(quoted(owner)) owns the application's tables, and is trusted as somebody who does"
                    + " not write to them",
                advice: "let the application and people log in as different roles")
        }
        checkTool()
        if values.text("database.fence") == "complete" {
            warnOfNoEffect(["database.accepts"], because: "a complete fence holds all of it")
        }
        guard let deadline = values.span("deadlines.migrate") else { return }
        for path in ["database.lock_timeout", "database.statement_timeout"] {
            guard let timeout = values.span(path), timeout > deadline else { continue }
            findings.warning(
                "no-effect", at: values.position(of: path),
                "the deadline of migrate (\(deadline)) ends before this timeout (\(timeout))",
                advice: "shorten it, or lengthen `deadlines.migrate`")
        }
    }

    // MARK: The rollout

    private var selectedCount: Int? { values.list("nodes.names")?.count }

    private mutating func checkRollout() {
        guard case .nodes(let most)? = values.size("rollout.max_unavailable") else {
            return
        }
        if let canary = values.count("rollout.canary"), canary > most {
            findings.warning(
                "cut", at: values.position(of: "rollout.canary"),
                "a canary of \(canary) is cut to `max_unavailable`, \(most)",
                advice: "lower one or raise the other")
        }
        for case .nodes(let size) in values.sizes("rollout.batches") ?? [] where size > most {
            findings.warning(
                "cut", at: values.position(of: "rollout.batches"),
                "a batch of \(size) is cut to `max_unavailable`, \(most)",
                advice: "lower one or raise the other")
        }
    }

    private mutating func checkStart() {
        guard let start = values.text("rollout.start").flatMap(Plan.Start.init(rawValue:))
        else { return }
        guard start == .afterMigration else {
            warnOfNoEffect(
                ["rollout.start_checks"],
                because: "the release starts in stage, where only its old schema is there")
            return
        }
        let position = values.position(of: "rollout.start")
        if !values.isPresent("database") {
            findings.warning(
                "no-effect", at: position,
                "`rollout.start` has no effect: the plan has no database, and so no migration",
                advice: "remove it, or add `database`")
        }
        guard values.list("rollout.warm")?.isEmpty == true else { return }
        findings.error(
            "start", at: position, "nothing starts the new release after the migration",
            advice: "name the actions that start it under `rollout.warm`, or remove `rollout.start`"
        )
    }

    private mutating func checkFailureBudget() {
        guard let budget = values.count("rollout.failure_budget"), budget > 0 else { return }
        let position = values.position(of: "rollout.failure_budget")
        if let count = selectedCount, count > 0, budget >= count {
            findings.errorUnlessStored(
                "failure-budget", at: position,
                "with \(count) selected, every node may fail and the run still go on",
                advice: "write less than \(count)")
        }
        if case .nodes(let most)? = values.size("rollout.max_unavailable"), budget > most {
            findings.warning(
                "failure-budget", at: position,
                "failed nodes are out of service as well, and \(budget) are more than"
                    + " `max_unavailable`, \(most)",
                advice: "lower `failure_budget` or raise `max_unavailable`")
        }
    }

    // MARK: People and hooks

    private mutating func checkApprovals() {
        for item in values.list("approvals") ?? [] {
            guard let phase = Phase(rawValue: item.text) else { continue }
            if phase == .preflight {
                findings.error(
                    "approval", at: item.position,
                    "a run begins with preflight: nothing to approve yet",
                    advice: "write `stage`, to look at what preflight found")
            } else if phase.isInWriteWindow, phase != .readOnly {
                findings.warning(
                    "approval", at: item.position,
                    "the run waits for a person before \(phase), with writes closed meanwhile",
                    advice: "ask before the window (`read-only`), unless this wait is meant")
            }
        }
    }

    private mutating func check(hook: DocumentValues) {
        let moments = ["before", "after"].filter(hook.isPresent)
        if moments.count != 1 {
            findings.error(
                "hook", at: hook.position,
                moments.isEmpty ? "this hook has no phase" : "this hook has two phases",
                advice:
                    "write one of `before: PHASE` and `after: PHASE`; two hooks may name one action"
            )
        }
        if hook.text("before") == Phase.preflight.rawValue {
            findings.error(
                "hook", at: hook.position(of: "before"),
                "nothing runs on a node before preflight has looked at it",
                advice: "write `before: stage`")
        }
        check(undoOf: hook)
        checkTarget(hook, "", of: "this hook")
    }

    /// Where an action runs: on one node that the plan selects, or on those that `where` says.
    mutating func checkTarget(_ section: DocumentValues, _ prefix: String, of what: String) {
        if section.isPresent("\(prefix)where"), section.isPresent("\(prefix)node") {
            findings.error(
                "exclusive", at: section.position(of: "\(prefix)node"),
                "\(what) has `where` and `node`", advice: "keep one of them")
        }
        if let node = section.text("\(prefix)node"), let names = values.list("nodes.names"),
            !names.isEmpty, !names.contains(where: { $0.text == node })
        {
            findings.errorUnlessStored(
                "hook", at: section.position(of: "\(prefix)node"),
                "\(quoted(node)) is not selected by this plan",
                advice: nearest(to: node, among: names.map(\.text)).map { "did you mean `\($0)`?" }
                    ?? "write a name of `nodes.names`")
        }
    }

    private mutating func check(pausing section: String, _ action: String, _ undo: String) {
        guard values.isPresent(section) else { return }
        checkTarget(values, "\(section).", of: "`\(section)`")
        guard let name = values.text("\(section).\(action)"),
            name == values.text("\(section).\(undo)")
        else { return }
        findings.error(
            "hook", at: values.position(of: "\(section).\(undo)"),
            "`\(undo)` is the same action as `\(action)`, so nothing would be undone",
            advice: "name the action that undoes it")
    }

    private mutating func check(undoOf hook: DocumentValues) {
        if hook.isPresent("until"), !hook.isPresent("undo") {
            findings.error(
                "hook", at: hook.position(of: "until"),
                "`until` says when to undo, and nothing undoes",
                advice: "name the action that undoes this hook under `undo`, or remove `until`")
        }
        if hook.text("until") == Plan.Hook.Until.verify.rawValue,
            hook.text("after") == Phase.verify.rawValue
                || hook.text("before") == Phase.lift.rawValue
        {
            findings.error(
                "hook", at: hook.position(of: "until"),
                "this hook begins after verify, so that it cannot be undone there",
                advice: "write `until: lift`, or let the hook run earlier")
        }
        let isPastLift =
            hook.text("after") == Phase.lift.rawValue
            || [hook.text("before"), hook.text("after")].contains(Phase.finish.rawValue)
        guard isPastLift, hook.isPresent("undo") else { return }
        findings.error(
            "hook", at: hook.position(of: "undo"), "nothing is undone after the lift",
            advice: "remove `undo`, or let the hook run before the lift")
    }

    private mutating func warnOfNoEffect(_ paths: [String], because reason: String) {
        for path in paths where values.isGiven(path) {
            findings.warning(
                "no-effect", at: values.position(of: path), "`\(path)` has no effect: \(reason)",
                advice: "remove it")
        }
    }
}
