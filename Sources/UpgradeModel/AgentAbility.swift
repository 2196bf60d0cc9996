// SPDX-License-Identifier: Apache-2.0

/// What an agent can do that agents of earlier versions cannot, as it says in each status.
///
/// A plan that needs one is refused in preflight where an agent does not say it: an older one would pass over what it does not
/// know in a directive.
public enum AgentAbility: String, Hashable, Sendable, CaseIterable {
    /// It asks a release at its own socket before the node flips to it (``HealthGoal/Place/ownSocket``).
    case asksOwnSocket = "asks-own-socket"
    /// Its configuration has the actions that switch to a version and report it.
    case switchesVersions = "switches-versions"
    /// It runs a migration tool without a pass, and has it say what it would do.
    case runsToolsUnfenced = "runs-tools-unfenced"
    /// It tells a migration tool which database it is for (``ToolRun/database``).
    case tellsToolsTheirDatabase = "tells-tools-their-database"
    /// It tells an action which database it is for (``NodeTask/database``).
    case tellsActionsTheirDatabase = "tells-actions-their-database"
    /// It stages a release once more for the standby (``ReleaseReference/database``), and says when a release is vacated
    /// (``Directive/vacated``). Only where releases listen on sockets of their own.
    case servesFromStandby = "serves-from-standby"
    /// Its configuration says that its actions lead a version to the standby and back, and report which server answers.
    case switchesDatabases = "switches-databases"

    /// What it can do, for people: `its agent cannot …`.
    public var phrase: String {
        switch self {
        case .asksOwnSocket: "ask the new release at its own socket"
        case .switchesVersions: "switch to a version"
        case .runsToolsUnfenced: "run a migration tool outside the write window"
        case .tellsToolsTheirDatabase: "tell a migration tool which database it is for"
        case .tellsActionsTheirDatabase: "tell an action which database it is for"
        case .servesFromStandby: "start the old release once more on the standby"
        case .switchesDatabases: "switch a version to the standby and back"
        }
    }

    /// What to do on a node that lacks it.
    public var advice: String {
        switch self {
        case .asksOwnSocket, .runsToolsUnfenced, .tellsToolsTheirDatabase,
            .tellsActionsTheirDatabase:
            "install the sluice-agent of the coordinator's version"
        case .servesFromStandby:
            "install the sluice-agent of the coordinator's version, and give its agent.yaml an `application.socket` with {release}"
        case .switchesDatabases:
            "have the actions `switch` and `report` of its agent.yaml heed SLUICE_DATABASE, and say `standby: true` under `release` there"
        case .switchesVersions:
            "name the actions under `release.switch` and `release.report` of its agent.yaml"
        }
    }
}
