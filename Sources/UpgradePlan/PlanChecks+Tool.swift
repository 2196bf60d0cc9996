// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// The application's own migration tool.
extension PlanChecks {
    mutating func checkTool(of section: DatabaseSection) {
        let values = section.values
        let tool = section.path("migrate_with")
        guard values.isPresent(tool) else {
            let isUnread =
                self.values.isFaulty(section.key)
                || [section.path("migrations"), tool].contains(where: values.isFaulty)
            guard !values.isPresent(section.path("migrations")), !isUnread else { return }
            let isOnly = section.key == "database"
            findings.error(
                "missing", at: section.position,
                "nothing migrates the database\(isOnly ? "" : " \(section.name)")",
                advice: "name a directory under `migrations`, or the application's own tool under"
                    + " `migrate_with`; without a migration leave"
                    + " `\(isOnly ? "database" : section.name.rawValue)` out")
            return
        }
        let ledgers = ["ledger", "ledger_query"].map { "\(tool).\($0)" }
        switch ledgers.count(where: values.isPresent) {
        case 0:
            findings.error(
                "missing", at: values.position(of: tool),
                "nobody says where the tool\(section.suffix) keeps what it has applied",
                advice: "write `ledger: django` or another of the known ones, or a query under"
                    + " `ledger_query`")
        case 2:
            findings.error(
                "exclusive", at: values.position(of: ledgers[1]),
                "`ledger` and `ledger_query` both say where the tool keeps what it has applied",
                advice: "keep one of them")
        default: break
        }
        if values.text("\(tool).on_partly") == Plan.Tool.OnPartly.back.rawValue,
            !values.isPresent("\(tool).revert_with")
        {
            findings.error(
                "migrate-with", at: values.position(of: "\(tool).on_partly"),
                "`back` undoes with `revert_with`, and there is none",
                advice: "name the action that undoes, or write `on_partly: person`")
        }
        checkToolActions(values, tool)
        checkTarget(values, "\(tool).", of: "`migrate_with`")
        // Where a standby is frozen, it is the way back, whatever the tool does.
        if !readsFromStandby, !values.isPresent("\(tool).revert_with"),
            !values.isFaulty("\(tool).revert_with")
        {
            findings.warning(
                "no-way-back", at: values.position(of: tool),
                "nothing undoes what the migration tool\(section.suffix) does: from its first change on, the run"
                    + " does not turn back by itself, and waits for a person when anything fails",
                advice: "name the action that undoes under `revert_with`, or have a backup at hand")
        }
    }

    /// Each moment of a tool has an action of its own.
    private mutating func checkToolActions(_ values: DocumentValues, _ tool: String) {
        let keys = ["run", "revert_with", "expand_with", "contract_with", "preview_with"]
        var known: [String: String] = [:]
        for key in keys {
            let path = "\(tool).\(key)"
            guard let action = values.text(path) else { continue }
            guard let other = known[action] else {
                known[action] = key
                continue
            }
            let isUndoing = [key, other].contains("revert_with")
            findings.error(
                "migrate-with", at: values.position(of: path),
                "`\(key)` is the same action as `\(other)`"
                    + (isUndoing ? ", so nothing would be undone" : ", so it would do the same"),
                advice: isUndoing
                    ? "name the action that undoes it"
                    : "name an action that does this part and no other, or leave the key out")
        }
        if values.isPresent("\(tool).expand_with"),
            !values.isPresent("\(tool).revert_with"),
            !values.isFaulty("\(tool).revert_with")
        {
            findings.warning(
                "expand-stays", at: values.position(of: "\(tool).expand_with"),
                "nothing undoes what it does before the window: on the way back the old release is"
                    + " served on it, and the run waits at its end for a person",
                advice: "name the action that undoes under `revert_with`, or let it only add what"
                    + " the old release does not mind")
        }
    }
}
