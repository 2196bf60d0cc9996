// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// Reads from a standby that is frozen for the write window: what that needs, and what it does not do yet.
extension PlanChecks {
    var readsFromStandby: Bool { values.text("reads.from") == "standby" }

    mutating func checkStandby() {
        let sections = values.databases
        for section in sections { checkAddress(of: section) }
        guard readsFromStandby else {
            for section in sections {
                warnOfNoEffect(
                    [section.path("standby")], of: section.values,
                    because: "the plan does not say `reads: {from: standby}`")
            }
            return
        }
        let position = values.position(of: "reads.from")
        guard let first = sections.first else {
            if !values.hasDatabase {
                refuse(
                    position, "reads are to go on on a standby, and the plan has no database",
                    "remove `reads.from`, or add `database` with `standby`")
            }
            return
        }
        if sections.count > 1 {
            refuse(
                position,
                "a plan with \(sections.count) databases does not read from a standby: the standbys of several"
                    + " primaries are not frozen at one moment",
                "upgrade each database by a plan of its own, or write `while_migrating: hold`")
        } else if !first.values.isPresent(first.path("standby")) {
            refuse(
                position, "reads are to go on on a standby, and the plan names none",
                "name the variable that holds its URL: `\(first.key == "database" ? "database" : "databases.\(first.name)").standby: {url: env:STANDBY_URL}`"
            )
        }
        if !isByActions { checkReader() }
    }

    /// The old release is started once more, on the standby. One that the nodes' own actions switch runs once.
    private mutating func checkReader() {
        if values.list("rollout.warm")?.isEmpty == true {
            refuse(
                values.position(of: "rollout"), "nothing starts the old release on the standby",
                "name the actions that start a release under `rollout.warm`: they get SLUICE_DATABASE=standby"
            )
        }
        if values.list("rollout.retire")?.isEmpty == true {
            refuse(
                values.position(of: "rollout"),
                "nothing stops the old release on the standby, and no reader may be left there when it follows again",
                "name the actions that stop a release under `rollout.retire`")
        }
    }

    /// A standby that is the primary would be frozen in the middle of its own migration.
    private mutating func checkAddress(of section: DatabaseSection) {
        guard let url = section.values.text(section.path("standby.url")),
            url == section.values.text(section.path("url"))
        else { return }
        findings.error(
            "standby", at: section.values.position(of: section.path("standby.url")),
            "the standby has the URL of the database itself, \(url)",
            advice: "name the variable that holds the URL of the standby")
    }

    private mutating func refuse(
        _ position: Diagnostic.Position, _ message: String, _ advice: String
    ) {
        findings.error("standby", at: position, message, advice: advice)
    }
}
