// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// Databases that may be left out, and what closes their sites.
extension PlanChecks {
    mutating func checkLeavingOut() {
        let sections = values.databases
        for section in sections { checkActions(of: section) }
        let key = "failed_databases_at_most"
        guard let most = values.count(key), most > 0 else { return }
        guard sections.count > 1 else {
            return warnOfNoEffect(
                [key],
                because: sections.isEmpty ? "the plan has no database" : "the plan has one database"
            )
        }
        if most >= sections.count {
            findings.error(
                "leave-out", at: values.position(of: key),
                "all \(sections.count) databases could be left out, and nothing would be upgraded",
                advice: "write at most \(sections.count - 1)")
        }
        let open = sections.filter { !$0.values.isPresent($0.path("leave_out_with")) }
        guard let first = open.first else { return }
        let names = open.prefix(8).map(\.name.rawValue).joined(separator: ", ")
        let more = open.count > 8 ? " and \(open.count - 8) more" : ""
        findings.error(
            "leave-out", at: first.position,
            "nothing closes the site of \(names)\(more) where the run goes on without it: the new release would meet"
                + " a schema there that it does not know, and the gates ask for no site",
            advice: "name the actions that close it on a node and open it under"
                + " `leave_out_with: {close: …, open: …}`, or remove `\(key)`")
    }

    private mutating func checkActions(of section: DatabaseSection) {
        let values = section.values
        let key = section.path("leave_out_with")
        guard values.isPresent(key) else { return }
        if let close = values.text("\(key).close"), close == values.text("\(key).open") {
            findings.error(
                "leave-out", at: values.position(of: "\(key).open"),
                "`open` is the same action as `close`, so nothing would be opened",
                advice: "name the action that opens the site again")
        }
        if readsFromStandby {
            findings.error(
                "standby", at: values.position(of: key),
                "a plan that reads from a standby leaves no database out: readers of it would come"
                    + " back to the site when the standby ends",
                advice: "remove `leave_out_with`, or write `reads: {while_migrating: hold}`")
        }
    }
}
