// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// The databases, and who migrates them.
extension PlanChecks {
    mutating func checkDatabases() {
        guard values.hasDatabase else {
            warnOfNoEffect(
                ["deadlines.migrate", "migrations_at_once"], because: "the plan has no database")
            return
        }
        if values.named("databases")?.isEmpty == true {
            findings.error(
                "missing", at: values.position(of: "databases"), "`databases` names no database",
                advice: "write `name:` below it and its keys further indented, or remove it")
        }
        let sections = values.databases
        if sections.count < 2 {
            warnOfNoEffect(["migrations_at_once"], because: "the plan has one database")
        }
        for section in sections { check(section) }
        checkTogether(sections)
    }

    private mutating func check(_ section: DatabaseSection) {
        let values = section.values
        if let owner = values.text(section.path("owner")),
            let trusted = values.list(section.path("trusted")),
            let item = trusted.first(where: { $0.text == owner })
        {
            findings.warning(
                "trusted", at: item.position,
                "\(quoted(owner)) owns the application's tables, and is trusted as somebody who does"
                    + " not write to them",
                advice: "let the application and people log in as different roles")
        }
        checkTool(of: section)
        if values.text(section.path("fence")) == "complete" {
            warnOfNoEffect(
                [section.path("accepts")], of: values, because: "a complete fence holds all of it")
        }
        guard let deadline = self.values.span("deadlines.migrate") else { return }
        for path in ["lock_timeout", "statement_timeout"].map(section.path) {
            guard let timeout = values.span(path), timeout > deadline else { continue }
            findings.warning(
                "no-effect", at: values.position(of: path),
                "the deadline of migrate (\(deadline)) ends before this timeout (\(timeout))",
                advice: "shorten it, or lengthen `deadlines.migrate`")
        }
    }

    /// What several say together.
    private mutating func checkTogether(_ sections: [DatabaseSection]) {
        if let second = sections.dropFirst().first(where: { $0.name == .default }) {
            findings.error(
                "duplicate-database", at: second.position,
                "`default` is the name of the database under `database`",
                advice: "give this one another name")
        }
        var known: [String: DatabaseName] = [:]
        for section in sections {
            guard let url = section.values.text(section.path("url")) else { continue }
            if let other = known[url] {
                findings.error(
                    "duplicate-database", at: section.values.position(of: section.path("url")),
                    "the databases \(other) and \(section.name) have the same URL, \(url)",
                    advice: "name the variable that holds the URL of this one")
            }
            known[url] = section.name
        }
    }
}
