// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Coordinator
import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import UpgradeEngine
import UpgradeModel

extension ControlResponder {
    func start(_ request: Request, by name: OperatorName) async throws(APIError) -> Response {
        if let (end, now) = certificate?() { try end.check(now: now) }
        let start = try await request.body.decode(
            StartRun.self, limit: Limits.start, announced: request.announcedLength)
        return .json(try await control.start(start, by: name), status: .created)
    }

    func look(_ request: Request) async throws(APIError) -> Response {
        let question = try await request.body.decode(
            DatabaseQuestion.self, limit: Limits.start, announced: request.announcedLength)
        return .json(try await control.databaseFindings(question))
    }

    func ask(
        _ request: Request, of run: RunIdentifier, by name: OperatorName
    ) async throws(APIError) -> Response {
        let asked = try await request.body.decode(
            RunRequest.self, limit: Limits.request, announced: request.announcedLength)
        return .json(try await control.request(asked, of: run, by: name), status: .accepted)
    }

    /// Events of a run as they are stored, and the run after each change, until it has ended.
    ///
    /// `Last-Event-ID` or `?after=` goes on after an event that the client has.
    func stream(
        _ request: Request, of run: RunIdentifier, by name: OperatorName
    ) async throws(APIError) -> Response {
        let known =
            request.headers[.lastEventID].map { $0[...] } ?? request.uri.queryParameters["after"]
        let after = known.flatMap { Int64($0) } ?? 0
        let nodes = request.uri.queryParameters["nodes"].flatMap { Int($0) }
        _ = try await control.view(of: run)
        guard let slot = streams.acquire(for: name) else {
            throw APIError(
                .unavailable,
                message:
                    "\(Limits.streams / 4) event streams of one operator, or \(Limits.streams) of all, are open already",
                advice: "end one, or ask with `sluice status`")
        }
        let control = control
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                var stream = EventStream(
                    control: control, run: run, after: after, nodes: nodes, slot: slot)
                while let text = try await stream.next() {
                    try await writer.write(ByteBuffer(string: text))
                }
                try await writer.finish(nil)
            })
    }
}

/// One client's stream of a run's events.
///
/// It has no queue: a signal says that something is new, and then all that the client lacks is read. Events are told within a tenth
/// of a second; views, which cost as much as the fleet is large, as often as their cost allows. A slow client gets views more rarely
/// and loses no event.
struct EventStream {
    /// A line that says nothing, so that both ends know that the other is there.
    static let heartbeat = Duration.seconds(15)
    /// Between two looks.
    static let interval = Duration.milliseconds(100)
    /// Between two views.
    ///
    /// Watching takes a tenth of a core from the run that is watched, or a little more where a view would come later than a
    /// second after what it shows; a view that takes a second by itself comes every three.
    static func pause(after cost: Duration) -> Duration {
        min(max(interval, cost * 9), max(.milliseconds(800), cost * 2))
    }

    private let control: any FleetControl
    private let run: RunIdentifier
    /// How many nodes a view has at most; `nil` for all.
    private let nodes: Int?
    private let slot: ConcurrencyLimit.Slot
    private var version: Int64
    private var lastView: RunView?
    private var viewDue = ContinuousClock.now
    private var lastSentAt = ContinuousClock.now
    private let ring: AsyncStream<Void>.Continuation
    private var signals: AsyncStream<Void>.AsyncIterator

    init(
        control: any FleetControl, run: RunIdentifier, after version: Int64, nodes: Int?,
        slot: ConcurrencyLimit.Slot
    ) {
        self.control = control
        self.run = run
        self.nodes = nodes
        self.version = version
        self.slot = slot
        let (stream, ring) = Self.signals(control.changes(of: run))
        signals = stream.makeAsyncIterator()
        self.ring = ring
    }

    /// What to send next; `nil` when the run has ended, or the coordinator has.
    mutating func next() async throws -> String? {
        while lastView?.summary.state.isEnded != true {
            if lastView != nil { try await Task.sleep(for: Self.interval) }
            guard await signals.next(isolation: #isolation) != nil else { return nil }
            let text = try await news()
            let now = ContinuousClock.now
            guard !text.isEmpty || now - lastSentAt >= Self.heartbeat else { continue }
            lastSentAt = now
            return text.isEmpty ? ":\n\n" : text
        }
        return nil
    }

    private mutating func news() async throws -> String {
        let began = ContinuousClock.now
        let facts = try await control.facts(of: run, after: version)
        var text = try messages(for: facts)
        let ends = facts.contains { if case .ended = $0.event { true } else { false } }
        guard ends || began >= viewDue else {
            ringWhenDue()
            return text
        }
        let news = try await control.news(of: run, after: version)
        text += try messages(for: news.entries)
        let view = nodes.map { news.view.shortened(to: $0) } ?? news.view
        if lastView?.isSame(as: view) != true { text += try event("view", view) }
        lastView = view
        let now = ContinuousClock.now
        viewDue = now + Self.pause(after: now - began)
        return text
    }

    private mutating func messages(for entries: [JournalEntry]) throws -> String {
        var text = ""
        for entry in entries {
            text += try event("fact", entry, identifier: entry.version)
            version = entry.version
        }
        return text
    }

    /// What has changed is shown once a view may be made, whether or not anything else happens.
    private func ringWhenDue() {
        let (ring, due) = (ring, viewDue)
        Task {
            try? await Task.sleep(until: due, clock: .continuous)
            ring.yield()
        }
    }

    /// Signals at each change and at each heartbeat; ends with the coordinator.
    private static func signals(
        _ changes: AsyncStream<Void>
    ) -> (AsyncStream<Void>, AsyncStream<Void>.Continuation) {
        let (stream, continuation) = AsyncStream<Void>.makeStream(
            bufferingPolicy: .bufferingNewest(1))
        let task = Task {
            // Not a child: a stream's body has no scope around its loop. It ends with the stream, below.
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await _ in changes { continuation.yield() }
                    continuation.finish()
                }
                group.addTask {
                    while !Task.isCancelled {
                        try? await Task.sleep(for: heartbeat)
                        if !Task.isCancelled { continuation.yield() }
                    }
                }
                await group.next()
                group.cancelAll()
            }
        }
        continuation.onTermination = { _ in task.cancel() }
        return (stream, continuation)
    }

    private func event(_ name: String, _ value: some Encodable, identifier: Int64? = nil) throws
        -> String
    {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // JSON of one line: an encoder escapes line ends inside texts.
        let text = String(decoding: try encoder.encode(value), as: UTF8.self)
        let identifier = identifier.map { "id: \($0)\n" } ?? ""
        return "event: \(name)\n\(identifier)data: \(text)\n\n"
    }
}

extension RunView {
    /// Whether nothing but the time has changed.
    fileprivate func isSame(as other: RunView) -> Bool {
        var left = self
        var right = other
        left.now = right.now
        for index in left.nodes.indices { left.nodes[index].lastSeen = nil }
        for index in right.nodes.indices { right.nodes[index].lastSeen = nil }
        return left == right
    }
}

extension HTTPField.Name {
    // A literal of letters and hyphens is a field name.
    static let lastEventID = HTTPField.Name("Last-Event-ID") ?? .userAgent
}
