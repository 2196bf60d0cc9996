// SPDX-License-Identifier: Apache-2.0

/// A pass to make: for one task, whose sessions the fence is to let through.
public struct PassGoal: Hashable, Codable, Sendable {
    public var task: TaskIdentity
    /// What the node has to be allowed to run: found out before anything depends on it.
    public var actions: [ActionName]

    public init(task: TaskIdentity, actions: [ActionName]) {
        self.task = task
        self.actions = actions
    }
}

/// The digest of a secret that a node has made for one task, whose sessions the fence is to let through.
///
/// The node keeps the secret and gives it to the task's program alone; the database gets the digest, by way of the
/// coordinator. Whoever sees a plan, a journal, a log or the wire learns nothing that opens anything.
public struct PassOffer: Hashable, Codable, Sendable {
    public var task: TaskIdentity
    /// SHA-256 of the secret's text; `nil` when there is a ``problem``.
    public var digest: Digest?
    /// Why the node can make no pass, or may not run what is asked, and what to do.
    public var problem: String?

    public init(task: TaskIdentity, digest: Digest?, problem: String? = nil) {
        self.task = task
        self.digest = digest
        self.problem = problem
    }
}
