// SPDX-License-Identifier: Apache-2.0

/// Why a bundle was refused or a release could not be staged, activated or removed.
public struct ReleaseFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of failure it is. `rawValue` is a stable word for logs and statuses.
    public enum Code: String, Sendable, CaseIterable {
        /// The manifest breaks a rule of the format or a limit. Nothing was changed.
        case invalidManifest
        /// The manifest is not the one that the release is identified by. Nothing was changed.
        case wrongManifest
        /// An asset has the name of another release's asset and other content. Nothing was changed.
        case assetConflict
        /// The disk has too little room, in bytes or in inodes. Nothing was changed.
        case noSpace
        /// What came is not what the digest or the size says; it was thrown away.
        case wrongContent
        /// A blob could not be fetched to its end; what came is kept, and the next attempt goes on from there.
        case fetchFailed
        /// The task was cancelled; what came is kept.
        case cancelled
        /// Files of a staged release are not what its manifest says.
        case damaged
        /// Another release is being staged.
        case busy
        /// The release is not on this node.
        case notStaged
        /// The release is active, so it cannot be removed.
        case active
        /// The generation is below one that this node has had, or stands for another release.
        case staleGeneration
        /// An action of the node that has to finish the release before it is sealed has failed.
        case unfinished
        /// The file system said no; the message says which call on which path.
        case fileSystem
    }

    public var code: Code
    /// What failed, where, and what to do next.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(message) [\(code.rawValue)]" }
}
