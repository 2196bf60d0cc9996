// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension SchemaUpgrade.Configuration {
    /// The physical standby that is frozen for the write window.
    public struct StandbyAccess: Sendable {
        /// The standby's own address: the same database, as a superuser, direct.
        public var address: String
        /// How far it may be behind when the run begins, and how long the freeze waits for it besides.
        public var lag: Span
        /// How many bytes of its log the primary may keep for the standby while it is frozen.
        public var budget: Int64
        /// The REST API of any member, where Patroni looks after both servers: `http://USER:PASSWORD@HOST:8008`.
        public var patroni: String?
        /// Whether a migration goes on when the standby does not answer: readers are served elsewhere.
        public var mayBeLost: Bool

        public init(
            address: String, lag: Span = .seconds(5), budget: Int64 = 10 * 1024 * 1024 * 1024,
            patroni: String? = nil, mayBeLost: Bool = false
        ) {
            self.address = address
            self.lag = lag
            self.budget = budget
            self.patroni = patroni
            self.mayBeLost = mayBeLost
        }
    }
}
