// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// One stored event of a run, as bytes.
public struct StoredEvent: Hashable, Sendable {
    public var run: RunIdentifier
    /// Counts from 1 within the run, without gaps.
    public var version: Int64
    public var epoch: Epoch
    public var at: Instant
    /// JSON with an explicit `type` and `version` of its shape.
    public var body: [UInt8]

    public init(run: RunIdentifier, version: Int64, epoch: Epoch, at: Instant, body: [UInt8]) {
        self.run = run
        self.version = version
        self.epoch = epoch
        self.at = at
        self.body = body
    }
}

/// Events of one run to store, all or none of them, durable when `append` returns.
///
/// The first append of a run takes a fleet; without that it is refused as `notFound`.
public struct JournalAppend: Hashable, Sendable {
    public enum Claim: Hashable, Sendable {
        /// The fleet is this run's from now on; refused when another run has it.
        case take(FleetName)
        /// The fleet is free again.
        case release(FleetName)
    }

    public var run: RunIdentifier
    /// The number of events that the run has before this append.
    public var expectedVersion: Int64
    public var epoch: Epoch
    public var at: Instant
    public var bodies: [[UInt8]]
    public var claim: Claim?

    public init(
        run: RunIdentifier, expectedVersion: Int64, epoch: Epoch, at: Instant, bodies: [[UInt8]],
        claim: Claim? = nil
    ) {
        self.run = run
        self.expectedVersion = expectedVersion
        self.epoch = epoch
        self.at = at
        self.bodies = bodies
        self.claim = claim
    }
}

/// Which run has a fleet, and since when.
public struct FleetClaim: Hashable, Sendable {
    public var fleet: FleetName
    public var run: RunIdentifier
    public var since: Instant

    public init(fleet: FleetName, run: RunIdentifier, since: Instant) {
        self.fleet = fleet
        self.run = run
        self.since = since
    }
}

/// A run's row in the list of runs.
public struct RunRecord: Hashable, Sendable {
    public var run: RunIdentifier
    public var fleet: FleetName
    public var createdAt: Instant
    public var version: Int64

    public init(run: RunIdentifier, fleet: FleetName, createdAt: Instant, version: Int64) {
        self.run = run
        self.fleet = fleet
        self.createdAt = createdAt
        self.version = version
    }
}

/// Why a store did not do what was asked. After `io`, `full` or `corrupt` the process stops: an fsync is never tried again.
public enum StoreFailure: Error, Hashable, Sendable {
    /// The run has another version than expected: somebody else has written.
    case conflict(run: RunIdentifier, expected: Int64, actual: Int64)
    /// A later leader has taken over.
    case superseded(by: Epoch)
    /// Another run has the fleet.
    case fleetHeld(FleetClaim)
    /// Another process is the leader.
    case leaderHeld(by: String)
    case notFound(String)
    /// A blob whose bytes are not what its digest says, or that is larger than allowed.
    case rejected(String)
    case full(String)
    case corrupt(String)
    case io(String)
}

/// The events of all runs.
public protocol Journal: Sendable {
    /// Stores all of them, or none, in this order and in one transaction; durable when it returns.
    func append(_ appends: [JournalAppend]) async throws(StoreFailure)
    /// All events of a run after a version, in order, at most `limit`.
    func events(of run: RunIdentifier, after version: Int64, limit: Int) async throws(StoreFailure)
        -> [StoredEvent]
    /// The newest runs first.
    func runs(limit: Int) async throws(StoreFailure) -> [RunRecord]
    /// Which runs have a fleet now, sorted by fleet.
    func claims() async throws(StoreFailure) -> [FleetClaim]
    /// The latest instant of any stored event: the steady clock starts no earlier.
    func latestInstant() async throws(StoreFailure) -> Instant?
}

extension Journal {
    /// Stores the events, and the claim, in one transaction; durable when it returns.
    public func append(_ append: JournalAppend) async throws(StoreFailure) {
        try await self.append([append])
    }
}

/// Refuses an append whose epoch is not the journal's: the first check of every journal.
///
/// - Throws: `.superseded` for a lower epoch: a later leader has taken over; `.corrupt` for a higher one: the journal was replaced
///   by an older copy under a living leader.
public func refuseWrongEpoch(_ epoch: Epoch, current: Epoch) throws(StoreFailure) {
    if epoch < current { throw .superseded(by: current) }
    if epoch > current {
        throw .corrupt(
            """
            the journal is at epoch \(current.rawValue), but this coordinator leads epoch \(epoch.rawValue): an older copy \
            was put in its place; stop, put the newest copy back, start again
            """)
    }
}
