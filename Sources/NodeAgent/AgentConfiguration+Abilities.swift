// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import UpgradeModel

extension AgentConfiguration {
    /// What this agent can do, with what its configuration says.
    var abilities: [AgentAbility] {
        AgentAbility.allCases.filter { ability in
            switch ability {
            case .asksOwnSocket, .runsToolsUnfenced, .tellsToolsTheirDatabase,
                .tellsActionsTheirDatabase:
                true
            case .switchesVersions: release.areForVersions
            case .switchesDatabases: release.heedsDatabase
            case .servesFromStandby: applicationSocket?.contains("{release}") == true
            }
        }
    }
}
