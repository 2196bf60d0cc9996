// SPDX-License-Identifier: Apache-2.0

/// Of the statuses that failed together one is tried again, so that a coordinator that comes back hears each node once.
struct StatusRetry: Sendable {
    private var isTaken = false
    private var isOvertaken = false

    /// - Returns: whether the status that failed is the one to be tried again.
    mutating func begin() -> Bool {
        isOvertaken = isTaken
        defer { isTaken = true }
        return !isTaken
    }

    /// The one that was tried again got through.
    ///
    /// - Returns: whether another has failed since, which may have said more: the status of now has to follow.
    mutating func endOrGoOn() -> Bool {
        isTaken = isOvertaken
        defer { isOvertaken = false }
        return isOvertaken
    }
}
