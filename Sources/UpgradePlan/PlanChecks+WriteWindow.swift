// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// What happens to requests while writes are closed.
extension PlanChecks {
    mutating func checkWrites() {
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

    mutating func checkReads() {
        if readsFromStandby {
            warnOfNoEffect(
                ["reads.while_migrating"], because: "reads go on on the frozen standby")
            if values.text("reads.when_standby_is_lost") == "serve", !isByActions {
                warnOfNoEffect(
                    ["reads.hold_for", "reads.hold_at_most"],
                    because: "reads are served also when the standby is lost")
            }
            return
        }
        warnOfNoEffect(
            ["reads.when_standby_is_lost"],
            because: "the plan does not say `reads: {from: standby}`")
        switch values.text("reads.while_migrating") {
        case "serve":
            warnOfNoEffect(
                ["reads.hold_for", "reads.hold_at_most"], because: "reads are served, not held")
        case "hold" where !values.hasDatabase:
            findings.warning(
                "no-effect", at: values.position(of: "reads.while_migrating"),
                "reads are held for a migration, and the plan has no database",
                advice: "remove `reads`, or add `database`")
        default: break
        }
    }

    mutating func checkSessions() {
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
        if !values.hasDatabase {
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
}
