// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
public import WriteGate

/// What `agent.yaml` says, checked: where the node's things are, and all that may ever be done on it.
public struct AgentConfiguration: Sendable {
    public var file: String
    /// For people; the coordinator knows the node by its token.
    public var node: NodeName?
    public var coordinator: CoordinatorAddress
    public var directories: Directories
    /// Where a release's application listens; `{release}` in it stands for the release's name and the beginning of its digest.
    public var applicationSocket: String?
    /// Paths in each release that lead to the same path beneath `shared` in the application's directory.
    public var shared: [String] = []
    public var release = ReleaseActions()
    public var gate: GateConfiguration
    /// Where the gate is tried; `nil`: where writes have come in.
    public var probes: [ProbeTarget]?
    /// The main file of nginx's configuration, read for the limits that held requests meet.
    public var nginx = "/etc/nginx/nginx.conf"
    /// HAProxy's, a file or a directory of them.
    public var haproxy = "/etc/haproxy/haproxy.cfg"
    /// The Caddyfile.
    public var caddy = "/etc/caddy/Caddyfile"
    /// How long reads that were let through before reads were held are waited for at most.
    public var readsSettleWithin: Span
    public var actions: [ActionName: Action]
    public var health: [HealthCheckName: HealthCheck]
    public var caches: [CacheName: Cache]

    public struct Directories: Hashable, Sendable {
        /// Releases, activations, `current`, assets.
        public var app: String
        /// The journal and the output of actions.
        public var state: String
        /// Sockets and flags; gone after a boot.
        public var runtime: String
    }

    public struct CoordinatorAddress: Sendable {
        /// `https://host:port`, without a slash at its end.
        public var url: String
        public var token: SecretReference
        /// A PEM file of the authorities to trust instead of the system's.
        public var authorities: String?
    }

    /// The agent's own socket, for `sluice-agent status` and `break-glass`.
    public var localSocket: String { directories.runtime + "/agent.sock" }
    public var journal: String { directories.state + "/agent.journal" }
    public var actionOutput: String { directories.state + "/actions" }
    /// What the secrets of migration tools are made from; it never leaves the node.
    public var passKey: String { directories.state + "/pass.key" }
}

/// A secret by name, never by value.
public enum SecretReference: Hashable, Sendable {
    case file(String)
    case environment(String)
}
