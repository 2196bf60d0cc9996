// SPDX-License-Identifier: Apache-2.0

/// Whether requests are in the hands of a release still that a node does not serve any more (`Directive.vacated`).
public struct Vacancy: Hashable, Codable, Sendable {
    public var release: ReleaseReference
    /// Connections at its socket, each a request that is not answered. `nil` as long as it has not been looked at, which is not done
    /// before the node serves another release.
    public var requests: Int?
    /// Of the connections there those that have been open for more than five seconds (streams, WebSockets): they do not end by
    /// themselves, are not among the requests, and are not waited for.
    public var streams: Int

    public init(release: ReleaseReference, requests: Int? = nil, streams: Int = 0) {
        self.release = release
        self.requests = requests
        self.streams = streams
    }

    public var isVacant: Bool { requests == 0 }
}
