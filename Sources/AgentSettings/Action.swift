// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A command that this node allows, by name. Never a shell: an argument array and nothing else.
public struct Action: Hashable, Sendable {
    /// The first is the program, as an absolute path.
    public var command: [Argument]
    public var user: Account?
    public var timeout: Span
    /// Bytes of output that are kept on disk.
    public var outputLimit: Int
    /// The agent's own variables that are passed on.
    public var environment: [String]
    /// Whether running it again is as good as having run it once.
    public var isRepeatable: Bool
    /// Says whether it took effect, when the agent died before it saw the end: 0 yes, 1 no, anything else unknown.
    public var probe: [Argument]?
    /// Whether the release has to answer at its socket once this action, as the last that warms it, has ended.
    public var awaitsSocket: Bool
    /// Whether a bundle may ask it what the node has; it changes nothing then.
    public var answersNeeds: Bool

    public init(
        command: [Argument], user: Account?, timeout: Span, outputLimit: Int,
        environment: [String], isRepeatable: Bool, probe: [Argument]?, awaitsSocket: Bool = true,
        answersNeeds: Bool = false
    ) {
        self.command = command
        self.user = user
        self.timeout = timeout
        self.outputLimit = outputLimit
        self.environment = environment
        self.isRepeatable = isRepeatable
        self.probe = probe
        self.awaitsSocket = awaitsSocket
        self.answersNeeds = answersNeeds
    }

    /// One whole argument: as it stands in the configuration, or one value that the agent puts in.
    public enum Argument: Hashable, Sendable {
        case text(String)
        case release
        case releaseDirectory
        case socket
        case version
        case generation
        /// The name, in the plan, of the database that a migration tool is for.
        case database

        public init(_ text: String) {
            switch text {
            case "{release}": self = .release
            case "{release_dir}": self = .releaseDirectory
            case "{socket}": self = .socket
            case "{version}": self = .version
            case "{generation}": self = .generation
            case "{database}": self = .database
            default: self = .text(text)
            }
        }
    }
}
