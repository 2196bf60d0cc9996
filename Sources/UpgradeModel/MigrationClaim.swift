// SPDX-License-Identifier: Apache-2.0

/// What a person says of a migration: that it was done, or undone, by hand. The database is looked at before it is believed.
public struct MigrationClaim: Hashable, Codable, Sendable {
    public enum State: String, Codable, Sendable { case done, undone }

    /// The digits before the name, such as `0004`.
    public var version: String
    public var state: State

    public init(version: String, state: State) {
        self.version = version
        self.state = state
    }

    /// At most so many in one request.
    public static let most = 100
}
