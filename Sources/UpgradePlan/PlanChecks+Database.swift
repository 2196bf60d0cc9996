// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// The database, and who migrates it.
extension PlanChecks {
    mutating func checkDatabase() {
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
}
