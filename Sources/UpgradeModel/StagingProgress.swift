// SPDX-License-Identifier: Apache-2.0

/// How far the fetching of a release has come.
public struct StagingProgress: Hashable, Codable, Sendable {
    public var release: ReleaseReference
    public var bytesDone: Int64
    public var bytesTotal: Int64

    public init(release: ReleaseReference, bytesDone: Int64, bytesTotal: Int64) {
        self.release = release
        self.bytesDone = bytesDone
        self.bytesTotal = bytesTotal
    }
}
