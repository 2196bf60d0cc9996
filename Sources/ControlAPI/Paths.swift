// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The version of the protocol, sent in the header `Sluice-Protocol`. A coordinator refuses one that it does not know.
public let protocolVersion = 1

/// Every path of the coordinator's API. The node's name is never in a path: it comes from the token.
public enum Path {
    /// GET, without a token: a `Health`; 200 when it is ok, 503 otherwise.
    public static let health = "/healthz"
    /// GET: Prometheus text; from loopback without a token, otherwise for operators.
    public static let metrics = "/metrics"
    /// GET: long-poll for the next directive, see `DirectiveQuery`.
    public static let directive = "/v1/node/directive"
    /// POST: a `NodeStatus`; answered with a `StatusReceipt`.
    public static let status = "/v1/node/status"
    /// GET: a `[NodeView]`.
    public static let nodes = "/v1/nodes"
    /// POST: a `StartRun`, answered 201 with a `RunView`. GET: a `[RunSummary]`, newest first.
    public static let runs = "/v1/runs"
    /// POST: a `DatabaseQuestion`, answered with a `DatabaseFindings`. Changes nothing.
    public static let databaseFindings = "/v1/database/findings"
    /// GET (with `Range`), HEAD, and PUT for operators.
    public static func blob(_ digest: Digest) -> String { "/v1/blobs/\(digest)" }
    /// POST by operators: a list of digests (``BlobPack``); answered with the list of those that are not there.
    public static let missingBlobs = "/v1/packs/missing"
    /// POST by operators: a pack of blobs to store; 204 when all are durable.
    public static let storePack = "/v1/packs/store"
    /// POST: a list of digests; answered with a pack of them.
    public static let readPack = "/v1/packs/read"
    /// GET: a `RunView`.
    public static func run(_ run: RunIdentifier) -> String { "/v1/runs/\(run)" }
    /// POST: a `RunRequest`, answered 202 with a `RunView`.
    public static func requests(_ run: RunIdentifier) -> String { "/v1/runs/\(run)/requests" }
    /// GET: server-sent events, `view` with a `RunView` and `fact` with a `JournalEntry` (UpgradeEngine), until the run has ended.
    ///
    /// With `?nodes=N` a view has so many nodes at most, those that need looking at first, and `totals` of all.
    public static func stream(_ run: RunIdentifier) -> String { "/v1/runs/\(run)/stream" }
    /// GET: a `RunJournal` (UpgradeEngine).
    public static func journal(_ run: RunIdentifier) -> String { "/v1/runs/\(run)/journal" }
}

/// What every reader and queue allows at most.
public enum Limits {
    /// Bytes of a `RunRequest`: two texts, and down files, escaped.
    public static let request = 8 * text + 2 * migrationBytes
    /// Bytes of a `StartRun`: a plan and its migrations, of which every byte may be escaped with another, and names.
    public static let start = 2 * (plan + migrationBytes) + migrations * 1024
    /// Bytes of a plan.
    public static let plan = 1024 * 1024
    /// Bytes of a status.
    public static let status = 256 * 1024
    /// Bytes of one blob.
    public static let blob: Int64 = 2 * 1024 * 1024 * 1024
    /// Nodes in a run.
    public static let nodes = 10_000
    /// Tasks, failures and staged releases in one status.
    public static let statusEntries = Bounds.entries
    /// Bytes of any text in a status.
    public static let text = Bounds.text
    /// Entries of a run's journal.
    public static let journalEntries = 500_000
    /// Blobs received at once.
    public static let uploads = 32
    /// Connections open at once.
    public static let connections = 32_768
    /// Event streams open at once.
    public static let streams = 256
    /// How long a directive is waited for at most.
    public static let longPoll = Span.seconds(55)
    /// Migrations in one run, and bytes of all of them.
    public static let migrations = 1000
    public static let migrationBytes = 8 * 1024 * 1024
}
