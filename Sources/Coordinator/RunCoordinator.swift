// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
public import Logging
public import RunStore
public import SteadyClock
import UpgradeEngine
public import UpgradeModel

/// The leading coordinator: one core, one loop.
///
/// `core` is ahead of what is stored while an append is under way; `published` is what is stored, and everything that anybody is
/// told comes from it.
public actor RunCoordinator {
    /// What a coordinator stands on.
    public struct Ports: Sendable {
        public var journal: any Journal
        public var lease: any LeaderLease
        public var blobs: any BlobStore
        public var registry: any Registry
        public var makeWorker: MakeDatabaseWorker
        /// How often a database task is told to end; after 30 times its session is given up.
        public var cancelInterval: Duration
        /// How often blobs that no kept run names are thrown away; the first time a minute after the start at the latest.
        public var pruneInterval: Duration
        /// How often it is looked whom a migration waits for.
        public var waitInterval: Duration
        /// How often the frozen standby of a run is looked at.
        public var standbyInterval: Duration

        public init(
            journal: any Journal, lease: any LeaderLease, blobs: any BlobStore,
            registry: any Registry,
            makeWorker: @escaping MakeDatabaseWorker, cancelInterval: Duration = .seconds(1),
            pruneInterval: Duration = .seconds(3600), waitInterval: Duration = .seconds(1),
            standbyInterval: Duration = .milliseconds(500)
        ) {
            self.standbyInterval = standbyInterval
            self.waitInterval = waitInterval
            self.pruneInterval = pruneInterval
            self.journal = journal
            self.lease = lease
            self.blobs = blobs
            self.registry = registry
            self.makeWorker = makeWorker
            self.cancelInterval = cancelInterval
        }
    }

    /// Something heard, and whoever waits until it has been stored.
    struct QueuedInput {
        var input: CoreInput
        var reply: CheckedContinuation<Result<Void, APIError>, Never>?
    }

    /// Inputs that wait for the loop at most.
    static let pendingLimit = 50_000
    /// Events of a run kept in memory for those who watch.
    static let recentLimit = 4096

    public nonisolated let epoch: Epoch
    public nonisolated let clock: SteadyClock
    let ports: Ports
    let log: Logger
    nonisolated let watchers = Watchers()

    var core: CoordinatorCore
    var published: Published
    var pending: [QueuedInput] = []
    var fault: CoordinatorFault?
    /// Long-polls that wait, by node, in the order of their tickets.
    var parked: [NodeName: [(ticket: Int, poll: CheckedContinuation<Directive?, Never>)]] = [:]
    var tickets = 0
    /// The latest stored events of the runs that this process has led.
    var recent: [RunIdentifier: [JournalEntry]] = [:]
    /// Folded runs that ended before the latest of their fleet.
    var oldRuns: [RunIdentifier: Run] = [:]
    /// The workers of each run, by the label of the database.
    var workers: [RunIdentifier: [DatabaseName?: HeldWorker]] = [:]
    /// What each run's workers do, by the label of the database; `idle` where nothing is said.
    var slots: [RunIdentifier: [DatabaseName?: DatabaseSlot]] = [:]
    /// Whom the migrations of a run wait for, for people; nothing where nobody waits.
    var waits: [RunIdentifier: [String]] = [:]
    /// How far the task of a run's database has come, for people.
    var progress: [RunIdentifier: String] = [:]
    /// Runs of which that is looked at.
    var watchedForWaits: Set<RunIdentifier> = []
    /// Runs whose frozen standby is looked after.
    var watchedForStandby: Set<RunIdentifier> = []
    /// What the identifiers of requests were used for; of the runs that were not folded once somebody starts one.
    var memory: RequestMemory
    var hasReadOldStarts = false
    /// Identifiers of the requests that are being taken in.
    var requestsUnderWay: Set<String> = []
    /// Which nodes' tokens two machines use.
    var sharedTokens: [NodeName: SharedToken] = [:]
    /// What the check of the history has found, for `/healthz`.
    var damage: String?
    /// Databases that are being looked at for somebody who plans.
    var looks = 0
    private var space: (at: Instant, DiskSpace?)?
    var wakeAt: Instant?
    var armedFor: Instant?

    private let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation

    /// Takes the lead and folds every run that matters.
    ///
    /// - Parameter holder: what a second coordinator is told: host, process, since when.
    public static func lead(
        _ ports: Ports, holder: String, log: Logger
    ) async throws(CoordinatorFault) -> RunCoordinator {
        do {
            let epoch = try await ports.lease.acquire(holder: holder)
            let clock = SteadyClock(notBefore: try await ports.journal.latestInstant())
            let nodes = try await ports.registry.nodes()
            let stored = try await StoredRuns.read(ports.journal)
            let core = CoordinatorCore(epoch: epoch, inventory: nodes, runs: stored.runs)
            return RunCoordinator(
                ports, epoch: epoch, clock: clock, core: core, memory: stored.memory, log: log)
        } catch let fault as CoordinatorFault {
            throw fault
        } catch let failure as StoreFailure {
            throw .notStarted(failure)
        } catch {
            throw .notStarted(.io("\(error)"))
        }
    }

    private init(
        _ ports: Ports, epoch: Epoch, clock: SteadyClock, core: CoordinatorCore,
        memory: RequestMemory, log: Logger
    ) {
        self.ports = ports
        self.epoch = epoch
        self.clock = clock
        self.core = core
        self.published = Published(core)
        self.memory = memory
        self.log = log
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        pending = [QueuedInput(input: .leadershipTaken, reply: nil)]
        signal.yield()
    }

    /// Leads until it is cancelled or a fault ends it.
    ///
    /// - Throws: `CoordinatorFault`; the process says it and ends with a failure.
    public func run() async throws {
        log.info(
            "leading", metadata: ["epoch": "\(epoch.rawValue)", "runs": "\(core.table.runs.count)"])
        defer { log.info("no longer leading") }
        do {
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask { await self.keepHouse() }
                do {
                    for await _ in signals { try await turn(&group) }
                    silence(.notStored(.io("the coordinator was told to end")))
                } catch {
                    silence(error as? CoordinatorFault ?? .notStored(.io("\(error)")))
                    throw error
                }
                group.cancelAll()
            }
        } catch {
            await stepDown()
            throw error
        }
        await stepDown()
    }

    /// Lets go of the database and of the lead. What is stored and not told is for the next leader.
    private func stepDown() async {
        for held in workers.values.flatMap(\.values) { await held.worker.close() }
        workers = [:]
        await ports.lease.release()
    }

    /// Nothing is said any more; whoever waits is told to ask again.
    private func silence(_ fault: CoordinatorFault) {
        self.fault = fault
        for queued in pending { queued.reply?.resume(returning: .failure(.ended)) }
        pending = []
        for poll in parked.values.joined() { poll.poll.resume(returning: nil) }
        parked = [:]
        watchers.finish()
        signal.finish()
    }

    /// Puts an input before the loop.
    ///
    /// - Returns: when everything that follows from it is stored. - Throws: the refusal, or `unavailable`.
    func submit(_ input: CoreInput) async throws(APIError) {
        guard fault == nil else { throw .ended }
        guard pending.count < Self.pendingLimit else { throw .busy }
        let result = await withCheckedContinuation { reply in
            pending.append(QueuedInput(input: input, reply: reply))
            signal.yield()
        }
        try result.get()
    }

    /// Puts an input before the loop that nobody waits for.
    func enqueue(_ input: CoreInput) {
        guard fault == nil else { return }
        pending.append(QueuedInput(input: input, reply: nil))
        signal.yield()
    }

    /// Has the loop look at the clock.
    func wake() {
        armedFor = nil
        signal.yield()
    }

    /// Whether it leads and can store; for `/healthz`.
    public var health: Health {
        get async {
            if let fault { return Health(ok: false, epoch: epoch, reason: fault.description) }
            if let space = await diskSpace(), space.isLow {
                return Health(ok: false, epoch: epoch, reason: space.text)
            }
            return Health(ok: true, epoch: epoch, reason: damage)
        }
    }

    /// The room on the disk, looked at once a second at most; `nil` when it is not known.
    func diskSpace() async -> DiskSpace? {
        let now = clock.now
        if let space, now - space.at < .seconds(1) { return space.1 }
        let found = try? await ports.blobs.space()
        space = (now, found)
        return found
    }
}
