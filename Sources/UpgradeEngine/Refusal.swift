// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// Why a request is not carried out. A value, not a failure: nothing has changed.
public enum Refusal: Error, Hashable, Sendable {
    case noSuchRun(RunIdentifier)
    /// Another run has the fleet.
    case fleetHeld(FleetName, by: RunIdentifier, of: OperatorName, since: Instant)
    /// A node takes part in another run.
    case nodeHeld(NodeName, by: RunIdentifier)
    /// The plan names a node that the inventory does not have.
    case unknownNode(NodeName)
    /// A node that an earlier run had to leave quarantined is not selected.
    case quarantinedLeftOut(NodeName)
    /// Every node of the fleet is quarantined.
    case allQuarantined(FleetName)
    /// The plan's labels select no node.
    case noNodes
    /// The plan's text is not a plan.
    case invalidPlan
    case ended(RunState)
    case alreadyTurningBack
    case pastPointOfNoReturn
    case notPaused
    case alreadyPaused
    /// The run waits for a person already; pausing means nothing.
    case notRunning
    case nothingToApprove
    case nothingToRetry
    /// Nothing waits for what a person has done by hand.
    case nothingToResolve
    /// The files are not down files of this run's migrations.
    case noSuchMigration(String)
    case goingForward
    /// The standby has taken the primary's place, or may have.
    case promoted
    /// Going forward would leave more nodes behind than the plan allows.
    case tooManyQuarantined(Int, allowed: Int)
    /// A node that is said to be off speaks.
    case nodeIsHeard(NodeName)
    /// No node would be left.
    case lastNode(NodeName)

    /// A stable word for programs.
    public var code: String {
        switch self {
        case .noSuchRun: "not-found"
        case .fleetHeld: "fleet-held"
        case .nodeHeld: "node-held"
        case .unknownNode: "unknown-node"
        case .quarantinedLeftOut: "quarantined-left-out"
        case .allQuarantined: "all-quarantined"
        case .noNodes: "no-nodes"
        case .invalidPlan: "invalid-plan"
        case .ended: "run-ended"
        case .alreadyTurningBack: "already-turning-back"
        case .pastPointOfNoReturn: "past-point-of-no-return"
        case .notPaused: "not-paused"
        case .alreadyPaused: "already-paused"
        case .notRunning: "not-running"
        case .nothingToApprove: "nothing-to-approve"
        case .nothingToRetry: "nothing-to-retry"
        case .nothingToResolve: "nothing-to-resolve"
        case .noSuchMigration: "no-such-migration"
        case .goingForward: "going-forward"
        case .promoted: "promoted"
        case .tooManyQuarantined: "too-many-quarantined"
        case .nodeIsHeard: "node-is-heard"
        case .lastNode: "last-node"
        }
    }

    public var message: String {
        switch self {
        case .noSuchRun(let run): "there is no run \(run)"
        case .fleetHeld(let fleet, let run, let person, _):
            "the fleet \(fleet) is held by run \(run), which \(person) started"
        case .nodeHeld(let node, let run): "the node \(node) takes part in run \(run)"
        case .unknownNode(let node):
            "the plan names the node \(node), which the inventory does not have"
        case .quarantinedLeftOut(let node):
            "the node \(node) is quarantined since the fleet's last run, and the plan leaves it out"
        case .allQuarantined(let fleet): "every node of the fleet \(fleet) is quarantined"
        case .noNodes: "the plan's labels select no node"
        case .invalidPlan: "the plan is not valid"
        case .ended(let state): "the run has ended: \(state.rawValue)"
        case .alreadyTurningBack: "the run is turning back already"
        case .pastPointOfNoReturn: "the run is past the point of no return"
        case .notPaused: "the run is not paused"
        case .alreadyPaused: "the run is paused already"
        case .notRunning: "the run waits for a person"
        case .nothingToApprove: "no phase waits for approval"
        case .nothingToRetry: "no step has failed"
        case .nothingToResolve: "the run does not wait for a migration"
        case .noSuchMigration(let name): "\(name) is of no migration of this run"
        case .goingForward: "the run is not going back"
        case .promoted:
            "the standby is the primary now, or may be: what the migration has done on the first one is of no use any more"
        case .tooManyQuarantined(let count, let allowed):
            "\(count) nodes are in quarantine, and the plan's failure_budget is \(allowed)"
        case .nodeIsHeard(let node): "the node \(node) is not off: it was heard just now"
        case .lastNode(let node): "without \(node), no node would be left"
        }
    }

    public var advice: String {
        switch self {
        case .noSuchRun: "see `sluice status` for the runs there are"
        case .fleetHeld(_, let run, _, _):
            "see how it stands and what leads on with `sluice status \(run)`, or watch it to its end with `sluice status \(run) --watch`"
        case .nodeHeld(_, let run): "wait for that run to end: `sluice status \(run) --watch`"
        case .unknownNode(let node):
            "give it a token: `sluice token create --node \(node)`; see `sluice nodes`"
        case .quarantinedLeftOut(let node):
            "select it too, or take it off the inventory: `sluice token revoke --node \(node)`"
        case .allQuarantined:
            "put right what keeps them from what the last run says; see `sluice nodes`"
        case .noNodes: "compare the plan's labels with `sluice nodes`"
        case .invalidPlan: "see `sluice validate PLAN`"
        case .ended: "start a new run with `sluice apply PLAN`"
        case .alreadyTurningBack: "watch it with `sluice status --watch`"
        case .pastPointOfNoReturn:
            "writers use the new schema already: go on, or apply a plan that goes back to the old release"
        case .notPaused: "nothing to resume; see `sluice status`"
        case .alreadyPaused: "go on with `sluice resume`"
        case .notRunning: "see `sluice status` for what leads on"
        case .nothingToApprove: "see `sluice status` for what the run waits for"
        case .nothingToRetry: "see `sluice status` for what the run does"
        case .nothingToResolve: "see `sluice status` for what the run waits for"
        case .noSuchMigration:
            "a down file is named as the migration that it undoes: NNNN_name.down.sql, and a version is the digits before"
        case .goingForward: "`sluice retry` tries the step again at which it waits"
        case .promoted: "go on back with `sluice retry`"
        case .tooManyQuarantined:
            "put right what keeps them from taking part, as `sluice nodes` says, or go on back with `sluice retry`"
        case .nodeIsHeard: "stop its agent and its application first, or let it take part"
        case .lastNode: "go back with `sluice rollback`"
        }
    }
}
