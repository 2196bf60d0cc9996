// SPDX-License-Identifier: Apache-2.0

/// Something to have done on a node, once per identity: a named action, or a cache flushed.
public struct NodeTask: Hashable, Codable, Sendable {
    public enum Kind: String, Codable, Sendable {
        /// A command that the node's own configuration allows under this name.
        case action
        /// A cache that the node's own configuration declares under this name.
        case flush
    }

    public var identity: TaskIdentity
    public var kind: Kind
    /// The name of the action or of the cache.
    public var name: String
    public var timing: TaskTiming
    /// The release it is for: its directory and socket are given to the action.
    public var release: ReleaseReference?
    /// Set for an action that runs a migration tool: the fence lets it through, and it is ended when it is not asked for any more.
    public var tool: ToolRun?
    /// Which of the plan's databases another action is for; `nil`: for none in particular.
    public var database: DatabaseName?

    private enum CodingKeys: String, CodingKey {
        case identity, kind, name, release, tool, database
        case timing = "moment"
    }

    public init(
        identity: TaskIdentity, kind: Kind, name: String, timing: TaskTiming,
        release: ReleaseReference?, tool: ToolRun? = nil, database: DatabaseName? = nil
    ) {
        self.identity = identity
        self.database = database
        self.kind = kind
        self.name = name
        self.timing = timing
        self.release = release
        self.tool = tool
    }
}

/// What a migration tool is told beside the pass.
public struct ToolRun: Hashable, Codable, Sendable {
    /// When a tool runs that needs no pass.
    public enum Unfenced: String, Codable, Sendable {
        /// Before the window or after the lift. Its sessions have a name by which they are found.
        case online
        /// It only says what it would do; its sessions are read only.
        case preview
    }

    /// `nil`: in the window, by a pass.
    public var unfenced: Unfenced?
    /// Which of the plan's databases it is for; `nil` from a coordinator that knew of one only.
    public var database: DatabaseName?
    /// For the action that undoes: where the tool's ledger stood before it ran, an entry a line.
    public var ledgerBefore: String?
    /// For the same: what has been added to the ledger since, in its order, an entry a line.
    public var ledgerAdded: String?

    public init(
        database: DatabaseName? = nil, ledgerBefore: String? = nil, ledgerAdded: String? = nil,
        unfenced: Unfenced? = nil
    ) {
        self.database = database
        self.unfenced = unfenced
        self.ledgerBefore = ledgerBefore
        self.ledgerAdded = ledgerAdded
    }
}

/// Whether a task belongs before or after the flip of the same directive.
public enum TaskTiming: String, Codable, Sendable { case beforeActivation, afterActivation }

/// Names one execution of one task, across restarts of everybody: `<run>.<step>.<name>.<attempt>`.
public struct TaskIdentity: RawRepresentable, Hashable, Comparable, Codable, Sendable,
    CustomStringConvertible
{
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }
    public static func < (left: TaskIdentity, right: TaskIdentity) -> Bool {
        left.rawValue < right.rawValue
    }

    public init(from decoder: any Decoder) throws {
        rawValue = try decoder.singleValueContainer().decode(String.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

/// A health check to keep asking until it has answered well so many times in a row.
public struct HealthGoal: Hashable, Codable, Sendable {
    public var identity: TaskIdentity
    /// A check that the node's own configuration declares.
    public var check: HealthCheckName
    /// The release that has to answer.
    public var release: ReleaseName
    /// Good answers in a row.
    public var consecutive: Int
    /// Further checks that have to answer well each time; `nil`: none.
    public var others: [HealthCheckName]?
    /// Where it is asked; `nil`: where each check says, which may be through the proxy.
    public var place: ProbePlace?
    /// What is a good answer; `nil`: the one that each check says.
    public var standard: AnswerStandard?

    public enum ProbePlace: String, Codable, Sendable {
        /// At the socket of the release itself, before the node has flipped to it: so many questions at once that each of its
        /// processes is likely to be asked.
        case ownSocket
    }

    public enum AnswerStandard: String, Codable, Sendable {
        /// Whatever is answered over HTTP, but 502, 503 and 504, which say that nobody is there. For a release that has served before:
        /// it may not have the page that the check asks for. A check that is an action has to end well.
        case anyAnswer
    }

    public init(
        identity: TaskIdentity, check: HealthCheckName, release: ReleaseName, consecutive: Int,
        others: [HealthCheckName]? = nil, place: ProbePlace? = nil,
        standard: AnswerStandard? = nil
    ) {
        self.identity = identity
        self.check = check
        self.release = release
        self.consecutive = consecutive
        self.others = others
        self.place = place
        self.standard = standard
    }
}
