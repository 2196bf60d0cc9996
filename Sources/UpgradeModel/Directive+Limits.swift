// SPDX-License-Identifier: Apache-2.0

extension Directive {
    /// What exceeds the bounds of a directive, or is impossible; `nil` when nothing does.
    ///
    /// A node asks before it stores a directive or reckons with it: what is stored is read at each start.
    public var limitProblem: String? {
        var check = BoundCheck()
        check.number("epoch", epoch.rawValue, Bounds.epoch)
        check.number("revision", revision, Bounds.ordinal)
        switch writes {
        case .open: break
        case .hold(let limits): limits.check("writes", &check)
        case .refuse(let retryAfter, let message):
            check.span("writes.retryAfter", retryAfter, Bounds.retryAfter)
            check.text("writes.message", message)
        }
        reads.hold?.check("reads", &check)
        sessions?.check("sessions", &check)
        check.span("lease.duration", lease.duration, Bounds.hold)
        check.number("pace", pace, Bounds.held)
        check.entries("tasks", tasks.count)
        for task in tasks {
            check.word("tasks.identity", task.identity.rawValue)
            check.word("tasks.name", task.name)
            check.text("tasks.tool.ledgerBefore", task.tool?.ledgerBefore)
            check.text("tasks.tool.ledgerAdded", task.tool?.ledgerAdded)
        }
        check.word("health.identity", health?.identity.rawValue)
        check.number("health.consecutive", health?.consecutive, Bounds.consecutive)
        check.entries("health checks", health?.others?.count ?? 0)
        check.number("keepReleases", keepReleases, Bounds.releases)
        check.word("pass.task", pass?.task.rawValue)
        check.entries("pass.actions", pass?.actions.count ?? 0)
        check.number(
            "announced", announced?.milliseconds, Bounds.instant.milliseconds)
        return check.problem
    }
}

extension HoldLimits {
    fileprivate func check(_ name: String, _ check: inout BoundCheck) {
        check.number("\(name).hold.atMost", atMost, Bounds.held)
        check.span("\(name).hold.duration", duration, Bounds.hold)
        check.span("\(name).hold.retryAfter", retryAfter, Bounds.retryAfter)
    }
}
