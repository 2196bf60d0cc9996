// SPDX-License-Identifier: Apache-2.0

import CurlClient
import UpgradeModel
import WriteGate

/// What `agent.yaml` says, checked: where the node's things are, and all that may ever be done on it.
struct AgentConfiguration: Sendable {
    var file: String
    /// For people; the coordinator knows the node by its token.
    var node: NodeName?
    var coordinator: CoordinatorAddress
    var directories: Directories
    /// Where a release's application listens; `{release}` in it stands for the release's name.
    var applicationSocket: String?
    var gate: GateConfiguration
    /// How long reads that were let through before reads were held are waited for at most.
    var readsSettleWithin: Span
    var actions: [ActionName: Action]
    var health: [HealthCheckName: HealthCheck]
    var caches: [CacheName: Cache]

    struct Directories: Hashable, Sendable {
        /// Releases, activations, `current`, assets.
        var app: String
        /// The journal and the output of actions.
        var state: String
        /// Sockets and flags; gone after a boot.
        var runtime: String
    }

    struct CoordinatorAddress: Sendable {
        /// `https://host:port`, without a slash at its end.
        var url: String
        var token: SecretReference
        /// A PEM file of the authorities to trust instead of the system's.
        var authorities: String?
    }

    /// The socket of a release's application.
    func socket(of release: ReleaseName) -> String? {
        applicationSocket?.replacing("{release}", with: release.rawValue)
    }

    /// The agent's own socket, for `sluice-agent status` and `break-glass`.
    var localSocket: String { directories.runtime + "/agent.sock" }
    var journal: String { directories.state + "/agent.journal" }
    var actionOutput: String { directories.state + "/actions" }
}

/// A secret by name, never by value.
enum SecretReference: Hashable, Sendable {
    case file(String)
    case environment(String)
}

/// A command that this node allows, by name. Never a shell: an argument array and nothing else.
struct Action: Hashable, Sendable {
    /// The first is the program, as an absolute path.
    var command: [Argument]
    var user: Account?
    var timeout: Span
    /// Bytes of output that are kept on disk.
    var outputLimit: Int
    /// The agent's own variables that are passed on.
    var environment: [String]
    /// Whether running it again is as good as having run it once.
    var isRepeatable: Bool
    /// Says whether it took effect, when the agent died before it saw the end: 0 yes, 1 no, anything else unknown.
    var probe: [Argument]?

    /// One whole argument: as it stands in the configuration, or one value that the agent puts in.
    enum Argument: Hashable, Sendable {
        case text(String)
        case release
        case releaseDirectory
        case socket

        init(_ text: String) {
            switch text {
            case "{release}": self = .release
            case "{release_dir}": self = .releaseDirectory
            case "{socket}": self = .socket
            default: self = .text(text)
            }
        }
    }

    /// An account of the system, with all its groups.
    struct Account: Hashable, Sendable {
        var name: String
        var user: UInt32
        var group: UInt32
        var groups: [UInt32]

        /// What becomes this account and then the command that follows.
        ///
        /// Not done between fork and exec in a process with threads: glibc's calls wait there for threads that the child does
        /// not have.
        func prefix(setpriv: String) -> [String] {
            let list = groups.map(String.init).joined(separator: ",")
            return [
                setpriv, "--reuid", String(user), "--regid", String(group),
            ] + (groups.isEmpty ? ["--clear-groups"] : ["--groups", list]) + ["--"]
        }
    }
}

/// A question over HTTP and the answer that counts as healthy.
struct HealthCheck: Hashable, Sendable {
    enum Destination: Hashable, Sendable {
        /// The socket of the release that is asked about.
        case applicationSocket
        case socket(String)
        /// `host:port`.
        case address(String)
    }

    var destination: Destination
    var path: String
    var host: String
    var status: Int
    var header: ExpectedHeader?
    /// Text that the body has to contain.
    var body: String?
    var timeout: Span

    struct ExpectedHeader: Hashable, Sendable {
        var name: String
        /// `nil`: the name of the release.
        var value: String?
    }
}

/// A cache that this node declares, by name, and how it is flushed.
enum Cache: Hashable, Sendable {
    /// Its keys contain the generation: the flip itself is the flush.
    case generation
    case purge(Purge)
    /// Emptied, never followed out of.
    case directory(String)
    case action(ActionName)

    struct Purge: Hashable, Sendable {
        /// `host:port`.
        var address: String
        var method: HTTPMethod
        var host: String
        var paths: [String]
        var headers: [HTTPHeader]
    }
}
