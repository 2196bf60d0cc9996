// SPDX-License-Identifier: Apache-2.0

public import RunStore
public import UpgradeModel

/// Everything that follows from one input. Store `appends` first; only then speak.
///
/// When storing fails, the process stops: what the core holds was never true.
public struct Ready: Sendable {
    public var appends: [RunAppend] = []
    /// The nodes whose directive has changed, with the new one.
    public var directives: [NodeName: Directive] = [:]
    /// The statuses that were news.
    public var statuses: [NodeName: Observations.Seen] = [:]
    /// Every node that has a token, when that has changed.
    public var inventory: [NodeName: NodeRecord]?
    /// The runs that have changed in what they are or in what their nodes say.
    public var changed: Set<RunIdentifier> = []
    /// When `time` should be put in next, at the latest.
    public var wakeAt: Instant?

    public init() {}

    public var isEmpty: Bool { appends.isEmpty && directives.isEmpty && changed.isEmpty }
}

/// Events of one run to store in one transaction.
public struct RunAppend: Hashable, Sendable {
    public var run: RunIdentifier
    /// The number of events that the run has before.
    public var expectedVersion: Int64
    public var epoch: Epoch
    public var at: Instant
    public var events: [RunEvent]
    public var claim: JournalAppend.Claim?
}
