// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What leads on from where a run waits: commands that are accepted there, and no others.
extension Run {
    private var retry: String { "`sluice retry \(identifier)`" }
    private var rollback: String { "`sluice rollback \(identifier)`" }

    /// What leads on from any step.
    func waysOut(mayGoBack: Bool = false) -> String {
        if direction == .back {
            return "the gates of the nodes stay as they are; put right what failed, then \(retry)"
                + forwardAgain
        }
        if isWayBackBlocked, !isPastPointOfNoReturn { return blockedAdvice }
        if isPastPointOfNoReturn, !mayGoBack { return "put right what failed, then \(retry)" }
        return "\(retry) tries the step again, \(rollback) undoes the run"
    }

    /// Where the way back is stuck.
    var forwardAgain: String {
        mayGoForward
            ? "; or go forward after all: `sluice retry \(identifier) --forward`" : ""
    }

    /// What leads on where nodes say nothing that have to prove something.
    func waysAround(_ nodes: [NodeName]) -> String {
        let names = Listed.text(nodes.map(\.rawValue), separator: ", ")
        let first = nodes.first?.rawValue ?? "NODE"
        return
            "bring \(names) back, then \(retry); where one is off for sure, say so: "
            + "`sluice resolve \(identifier) --off \(first) --reason TEXT`; \(rollback) undoes the run"
    }

    /// What leads on where everything is undone, and the schema is another than before.
    var waysOutOfSchema: String {
        "put it back as it was, then \(retry); or leave it as it is: "
            + "`sluice resolve \(identifier) --accept-schema --reason TEXT`"
    }

    /// What leads on where a migration file does not do what it should: the same file fails again.
    ///
    /// - Returns: `nil` for a failure of another kind. `cause` is what to do whatever becomes of the run.
    func waysOut(
        of kind: DatabaseTask.Kind, _ failure: DatabaseFailure, mayGoBack: Bool
    ) -> (cause: String?, ways: String)? {
        guard failure.isOfFile else { return nil }
        let file = failure.findings.first?.position?.file
        let version = file.map { String($0.prefix { $0 != "_" }) } ?? "VERSION"
        switch kind {
        case .revertMigrate, .revertExpand:
            let down = file.map { $0.replacing(".up.sql", with: ".down.sql") } ?? "FILE"
            return (
                nil,
                "put right what it fails on, then \(retry); or bring a down file that works: `sluice retry \(identifier) --down \(down)`; "
                    + "or undo \(version) by hand, then `sluice resolve \(identifier) --undone \(version) --reason TEXT`"
                    + forwardAgain
            )
        case .expand, .migrate, .contract:
            let done = "`sluice resolve \(identifier) --done \(version) --reason TEXT`"
            let byHand = "\(version) was done by hand: \(done)"
            if isPastPointOfNoReturn, !mayGoBack {
                return (failure.adviceForPeople, "\(retry) tries again; or, when \(byHand)")
            }
            return (
                failure.adviceForPeople,
                "\(retry) tries the same file again, \(rollback) undoes the run (`sluice apply \(created.planFile)` then brings one that is mended); "
                    + "or, when \(byHand)"
            )
        default: return nil
        }
    }
}

extension DatabaseFailure {
    /// Whether it is a file that fails, and not the server, a lock or somebody else.
    fileprivate var isOfFile: Bool {
        [
            "sql", "statement-timeout", "no-down-migration", "migration-edited",
            "migration-claim",
        ].contains(code)
    }
}
