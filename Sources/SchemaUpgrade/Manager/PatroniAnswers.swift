// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What Patroni's REST API answers, as far as it is looked at (its documentation, "Patroni REST API").
enum PatroniAnswer {
    /// `GET /cluster`.
    struct Cluster: Decodable, Sendable {
        var members: [Member]
        var pause: Bool?
        /// The one whose key counts; `nil` while nobody holds it, and in a cluster that is a standby itself.
        var leader: Member? { members.first { $0.role == "leader" } }
    }

    struct Member: Decodable, Sendable {
        var name: String
        var role: String
        /// Where the member itself is asked: `http://db-1.internal:8008/patroni`.
        var api_url: String
    }

    /// `GET /patroni` of one member.
    struct Node: Decodable, Sendable {
        /// Of its server; `nil` while that is stopped. No two servers have the same.
        var postmaster_start_time: String?
        var pause: Bool?
    }

    /// `GET /config`.
    struct Settings: Decodable, Sendable {
        var pause: Bool?
        var maximum_lag_on_failover: Int64?
        var synchronous_mode: Mode?
        var postgresql: Server?
        var sluice: Claim?
    }

    /// Whether it may put a server back that has gone another way than the leader.
    struct Server: Decodable, Sendable {
        var use_pg_rewind: Mode?
        var remove_data_directory_on_diverged_timelines: Mode?
    }

    /// Who has paused it and what it was before, kept where the pause itself is, so that neither is without the other.
    struct Claim: Codable, Sendable {
        var run: String
        /// `nil`: there was no such key.
        var pause: Bool?
        /// Whether there was a section `postgresql`, and what was in it.
        var hasServer: Bool?
        var rewinds: Bool?
        var removes: Bool?
        /// Whether `maximum_lag_on_failover` is other than before, and what it was.
        var isLagRaised: Bool?
        var lag: Int64?
    }

    /// A flag that newer versions have words for.
    struct Mode: Decodable, Sendable {
        var isOn: Bool

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let flag = try? value.decode(Bool.self) {
                isOn = flag
            } else {
                isOn = !["off", "false", ""].contains(try value.decode(String.self))
            }
        }
    }
}
