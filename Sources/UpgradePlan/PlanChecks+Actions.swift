// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// The actions that a plan has nodes run: hooks, and what pauses and resumes.
extension PlanChecks {
    mutating func check(hook: DocumentValues) {
        let timings = ["before", "after"].filter(hook.isPresent)
        if timings.count != 1 {
            findings.error(
                "hook", at: hook.position,
                timings.isEmpty ? "this hook has no phase" : "this hook has two phases",
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

    mutating func check(pausing section: String, _ action: String, _ undo: String) {
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
}
