// SPDX-License-Identifier: Apache-2.0

public import CurlClient
public import UpgradeModel

/// A cache that this node declares, by name, and how it is flushed.
public enum Cache: Hashable, Sendable {
    /// Its keys contain the generation: the flip itself is the flush.
    case generation
    case purge(Purge)
    /// Emptied, never followed out of.
    case directory(String)
    case action(ActionName)

    public struct Purge: Hashable, Sendable {
        /// `host:port`.
        public var address: String
        public var method: HTTPMethod
        public var host: String
        public var paths: [String]
        public var headers: [SentHeader]

        public init(
            address: String, method: HTTPMethod, host: String, paths: [String],
            headers: [SentHeader]
        ) {
            self.address = address
            self.method = method
            self.host = host
            self.paths = paths
            self.headers = headers
        }
    }
}
