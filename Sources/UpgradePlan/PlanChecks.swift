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
        checkStandby()
        checkSessions()
        checkDatabases()
        checkLeavingOut()
        checkRollout()
        checkStart()
        checkFailureBudget()
        checkApprovals()
        for hook in values.sections("hooks") ?? [] { check(hook: hook) }
        check(pausing: "workers", "pause", "resume")
        check(pausing: "application.mode", "read_only", "normal")
    }

    mutating func warnOfNoEffect(_ paths: [String], because reason: String) {
        warnOfNoEffect(paths, of: values, because: reason)
    }

    /// The same of a section of its own.
    mutating func warnOfNoEffect(
        _ paths: [String], of section: DocumentValues, because reason: String
    ) {
        for path in paths where section.isGiven(path) {
            let title = section.title.isEmpty ? path : "\(section.title).\(path)"
            findings.warning(
                "no-effect", at: section.position(of: path),
                "`\(title)` has no effect: \(reason)", advice: "remove it")
        }
    }

    // MARK: What is upgraded, and who is asked

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

    /// Whether the nodes' own actions switch the release.
    var isByActions: Bool { values.text("release.by") == "actions" }

    private mutating func checkSource() {
        guard values.isGiven("release"), values.text("release.by") != nil else { return }
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
}
