// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import Foundation
import Synchronization
import UpgradeModel

/// A coordinator that says what a test wants and remembers what it was told.
final class FakeCoordinator: Sendable {
    private struct State {
        var directive: Directive?
        var statuses: [NodeStatus] = []
        var blobs: [Digest: [UInt8]] = [:]
        var ranges: [String] = []
        /// The epoch that receipts carry, when not the directive's.
        var receiptEpoch: Epoch?
        var tokens: Set<String> = []
        /// How many bytes of a blob come before the connection breaks, once for each entry.
        var breaks: [Int] = []
        /// Statuses are taken in and not answered.
        var holdsReceipts = false
        /// It is of this version: blobs may be asked for many at a time.
        var knowsPacks = false
        var packs = 0
        var singles = 0
    }

    private final class Box: Sendable {
        let state = Mutex(State())
        let changed = NSCondition()
    }

    private let box = Box()
    private let server: HTTPServer
    var port: UInt16 { server.port }
    var url: String { "http://127.0.0.1:\(port)" }

    init(port: UInt16 = 0) throws {
        let box = box
        server = try HTTPServer(port: port) { FakeCoordinator.answer($0, box) }
    }

    func stop() { server.stop() }

    var statuses: [NodeStatus] { box.state.withLock { $0.statuses } }
    var ranges: [String] { box.state.withLock { $0.ranges } }
    var tokens: Set<String> { box.state.withLock { $0.tokens } }

    func say(_ directive: Directive) {
        box.changed.lock()
        box.state.withLock { $0.directive = directive }
        box.changed.broadcast()
        box.changed.unlock()
    }

    func holdReceipts(_ holds: Bool) {
        box.changed.lock()
        box.state.withLock { $0.holdsReceipts = holds }
        box.changed.broadcast()
        box.changed.unlock()
    }

    func setReceiptEpoch(_ epoch: Epoch) { box.state.withLock { $0.receiptEpoch = epoch } }
    func knowPacks() { box.state.withLock { $0.knowsPacks = true } }
    /// Requests for packs, and for single blobs.
    var asked: (packs: Int, singles: Int) { box.state.withLock { ($0.packs, $0.singles) } }
    func breakBlobs(after bytes: [Int]) { box.state.withLock { $0.breaks = bytes } }

    func hold(_ bytes: [UInt8]) {
        box.state.withLock { $0.blobs[Digest.sha256(of: bytes)] = bytes }
    }

    /// Another content under a digest: what a hostile or damaged store would send.
    func hold(_ bytes: [UInt8], as digest: Digest) {
        box.state.withLock { $0.blobs[digest] = bytes }
    }

    /// The first status from now on, or among those that have come, for which a condition holds.
    func status(
        within seconds: Double = 20, where condition: @Sendable (NodeStatus) -> Bool
    ) async throws -> NodeStatus {
        let deadline = ContinuousClock.now + .milliseconds(Int(seconds * 1000))
        while ContinuousClock.now < deadline {
            if let found = statuses.first(where: condition) { return found }
            try await Task.sleep(for: .milliseconds(5))
        }
        let last = statuses.last.map { "\($0)" } ?? "none"
        throw TestFailure(
            description:
                "no such status within \(seconds) s; the last of \(statuses.count) was \(last)")
    }

    private static func pack(_ request: HTTPServer.Request, _ box: Box) -> HTTPServer.Answer? {
        box.state.withLock { state in
            guard state.knowsPacks, let digests = BlobPack.digests(inList: request.body) else {
                return HTTPServer.Answer(status: 404)
            }
            state.packs += 1
            return HTTPServer.Answer(
                status: 200,
                body: digests.flatMap { digest in
                    let bytes = state.blobs[digest] ?? []
                    return BlobPack.head(digest, count: bytes.count) + bytes
                })
        }
    }

    private static func answer(_ request: HTTPServer.Request, _ box: Box) -> HTTPServer.Answer? {
        box.state.withLock { _ = $0.tokens.insert(request.headers["authorization"] ?? "") }
        if request.path == Path.directive { return directive(request, box) }
        if request.path == Path.status { return receive(request, box) }
        if request.path == Path.readPack { return pack(request, box) }
        box.state.withLock { $0.singles += 1 }
        guard request.path.hasPrefix("/v1/blobs/"),
            let digest = Digest(String(request.path.dropFirst(10))),
            var bytes = box.state.withLock({ $0.blobs[digest] })
        else { return HTTPServer.Answer(status: 404) }
        guard let range = request.headers["range"] else { return .init(status: 200, body: bytes) }
        box.state.withLock { $0.ranges.append(range) }
        bytes.removeFirst(Int(range.drop { !$0.isNumber }.prefix { $0.isNumber }) ?? 0)
        return .init(status: 206, body: bytes)
    }

    private static func directive(_ request: HTTPServer.Request, _ box: Box) -> HTTPServer.Answer {
        let epoch = Epoch(rawValue: request.query("epoch").flatMap { Int64($0) } ?? 0)
        let revision = request.query("revision").flatMap { Int64($0) } ?? 0
        let deadline = Date(
            timeIntervalSinceNow: Double(request.query("wait") ?? "0").map { $0 / 1000 } ?? 0)
        box.changed.lock()
        defer { box.changed.unlock() }
        while true {
            if let directive = box.state.withLock({ $0.directive }),
                (directive.epoch, directive.revision) != (epoch, revision)
            {
                return .init(
                    status: 200,
                    body: (try? JSONEncoder().encode(directive)).map { Array($0) } ?? [])
            }
            if !box.changed.wait(until: deadline) { return .init(status: 204) }
        }
    }

    private static func receive(_ request: HTTPServer.Request, _ box: Box) -> HTTPServer.Answer {
        guard let status = try? JSONDecoder().decode(NodeStatus.self, from: Data(request.body))
        else {
            return .init(status: 400)
        }
        let receipt = box.state.withLock { state in
            state.statuses.append(status)
            let directive = state.directive
            return StatusReceipt(
                epoch: state.receiptEpoch ?? directive?.epoch ?? .zero,
                revision: directive?.revision ?? 0)
        }
        box.changed.lock()
        defer { box.changed.unlock() }
        let deadline = Date(timeIntervalSinceNow: 10)
        while box.state.withLock({ $0.holdsReceipts }) {
            if !box.changed.wait(until: deadline) { break }
        }
        return .init(
            status: 200, body: (try? JSONEncoder().encode(receipt)).map { Array($0) } ?? [])
    }
}
