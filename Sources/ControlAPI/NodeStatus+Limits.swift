// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension NodeStatus {
    /// What exceeds the limits of a status, or is impossible; `nil` when nothing does.
    ///
    /// A status comes from a stranger: it is kept in memory and shown to operators, so its size is checked in every part.
    public var limitProblem: String? {
        let lists = [
            ("staged releases", staged.count), ("tasks", tasks.count), ("failures", failures.count),
        ]
        for (name, count) in lists where count > Limits.statusEntries {
            return "it has \(count) \(name), and \(Limits.statusEntries) are allowed"
        }
        let texts =
            [("boot", boot), ("agentVersion", agentVersion), ("breakGlass", breakGlass ?? "")]
            + tasks.flatMap { [("task", $0.identity.rawValue), ("output", $0.output)] }
            + failures.map { ("failure", $0.message) }
            + (health.map { [("health", $0.identity.rawValue), ("health", $0.detail)] } ?? [])
        for (name, text) in texts where text.utf8.count > Limits.text {
            return
                "a text under \(name) has \(text.utf8.count) bytes, and \(Limits.text) are allowed"
        }
        let counts = [
            gate.writesInFlight, gate.writesWaiting, gate.readsWaiting, gate.writesRefused,
            gate.readsRefused, gate.writesReleased,
        ]
        if counts.contains(where: { $0 < 0 }) || sequence < 0 || diskFree < 0 {
            return "a count is negative"
        }
        return nil
    }
}
