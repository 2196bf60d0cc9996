// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import UpgradeModel

/// What a run changes of Patroni's settings, and how they are given back: to the byte.
extension PatroniAnswer.Claim {
    /// - Parameter settings: as they are before anything is changed.
    init(of run: RunIdentifier, _ settings: PatroniAnswer.Settings) {
        self.init(
            run: run.rawValue, pause: settings.pause, hasServer: settings.postgresql != nil,
            rewinds: settings.postgresql?.use_pg_rewind?.isOn,
            removes: settings.postgresql?.remove_data_directory_on_diverged_timelines?.isOn)
    }

    func json() throws -> String { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }

    /// The request that gives everything back; `null` takes a key away.
    var restoring: String {
        func text(_ value: Bool?) -> String { value.map { "\($0)" } ?? "null" }
        let server =
            hasServer == true
            ? """
            {"use_pg_rewind": \(text(rewinds)), "remove_data_directory_on_diverged_timelines": \(text(removes))}
            """ : "null"
        let most =
            isLagRaised == true
            ? ", \"maximum_lag_on_failover\": \(lag.map { "\($0)" } ?? "null")" : ""
        return """
            {"pause": \(text(pause)), "sluice": null, "postgresql": \(server)\(most)}
            """
    }
}
