// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import RunStore
import Synchronization
import UpgradeModel

/// What one request knows about its connection.
struct ControlContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// Whether the request comes from this machine; a proxy on it counts as this machine.
    var isLoopback: Bool { channel.remoteAddress?.ipAddress.map(isLoopbackAddress) ?? false }
}

/// Answers every request: route, identity, audience, handler; every refusal is an `APIError` as JSON.
struct ControlResponder: HTTPResponder {
    typealias Context = ControlContext

    let control: any FleetControl
    let blobs: any BlobStore
    let authenticator: Authenticator
    let metrics: PrometheusMetrics
    let log: Logger
    let connections: Connections
    /// What is shown to whoever connects, and the time (seconds since 1970); `nil` without TLS.
    let certificate: (@Sendable () -> (end: CertificateEnd, now: Int))?
    let meters = RequestMeters()
    /// Event streams open at once.
    let streams = ConcurrencyLimit(Limits.streams, perOperator: Limits.streams / 4)
    /// Blobs received at once.
    let uploads = ConcurrencyLimit(Limits.uploads, perOperator: Limits.uploads / 4)
    /// Starts and requests of operators; statuses of nodes.
    let requestRate = RequestRate(burst: 100, perSecond: 2)
    let statusRate = RequestRate(burst: 400, perSecond: 50)

    func respond(to request: Request, context: ControlContext) async throws -> Response {
        let began = ContinuousClock.now
        var label = "none"
        var response: Response
        do throws(APIError) {
            try checkProtocol(request.headers)
            let route = try Route(request.method, path: request.uri.path)
            label = route.label
            let identity = try await admit(request, to: route, context)
            response = try await answer(request, route, identity)
        } catch {
            response = .error(error)
            // What is left of the body is not read: whoever was refused could send for ever.
            if request.method == .put || request.method == .post {
                response.closing(context.channel)
            }
            // Whoever asks for a blob that is about to be uploaded hears that it is not there: no news.
            let isNews = !(error.status == .notFound && request.method == .head)
            log.log(
                level: isNews ? .info : .debug, "refused",
                metadata: [
                    "code": "\(error.code)", "path": "\(request.uri.path.prefix(200))",
                    "why": "\(error.message.prefix(500))",
                ])
        }
        meters.count(route: label, status: response.status.code)
        // A poll waits on purpose.
        if label != "directive" { meters.time(route: label, began.duration(to: .now)) }
        return response
    }

    private func checkProtocol(_ headers: HTTPFields) throws(APIError) {
        guard let sent = headers[.sluiceProtocol], sent != "\(protocolVersion)" else { return }
        throw APIError(
            .protocolVersion,
            message: "protocol \(sent.prefix(16)) is not spoken here, \(protocolVersion) is",
            advice: "use an agent and a CLI of the coordinator's version")
    }

    private func admit(
        _ request: Request, to route: Route, _ context: ControlContext
    ) async throws(APIError) -> Identity? {
        switch route.audience {
        case .everybody: return nil
        case .loopbackOrOperators where context.isLoopback: return nil
        case .loopbackOrOperators, .nodes, .operators, .nodesAndOperators:
            let identity = try await authenticator.identity(of: request.headers)
            connections.know(context.channel)
            try route.audience.admit(identity)
            return identity
        }
    }

    private func answer(
        _ request: Request, _ route: Route, _ identity: Identity?
    ) async throws(APIError) -> Response {
        switch (route, identity) {
        case (.start, let identity?), (.look, let identity?), (.request, let identity?):
            try requestRate.spend(identity)
        case (.status, let identity?): try statusRate.spend(identity)
        default: break
        }
        switch (route, identity) {
        case (.health, _):
            var health = await control.health
            if let (end, now) = certificate?(), let reason = end.reason(now: now) {
                health.reason = (health.reason.map { "\($0); " } ?? "") + reason
            }
            return .json(health, status: health.ok ? .ok : .serviceUnavailable)
        case (.metrics, _):
            return .text(metrics.text, type: "text/plain; version=0.0.4; charset=utf-8")
        case (.directive, .node(let node)): return try await directive(request, for: node)
        case (.status, .node(let node)): return try await status(request, from: node)
        case (.start, .operator(let name)): return try await start(request, by: name)
        case (.look, .operator): return try await look(request)
        case (.request(let run), .operator(let name)):
            return try await ask(request, of: run, by: name)
        case (.nodes, _): return .json(try await control.nodes())
        case (.runs, _): return .json(try await control.summaries())
        case (.run(let run), _): return .json(try await control.view(of: run))
        case (.journal(let run), _): return .json(try await control.journal(of: run))
        case (.stream(let run), .operator(let name)):
            return try await stream(request, of: run, by: name)
        case (.readBlob(let blob, let isHead), _):
            return try await readBlob(
                blob, isHead: isHead, range: request.headers[.range],
                renews: identity.map(Route.Audience.operators.contains) ?? false)
        case (.storeBlob(let blob), .operator(let name)):
            return try await storeBlob(blob, request, from: name)
        case (.missingBlobs, .operator): return try await missingBlobs(request)
        case (.storePack, .operator(let name)): return try await storePack(request, from: name)
        case (.readPack, _): return try await readPack(request)
        case (.directive, _), (.status, _), (.start, _), (.look, _), (.request, _),
            (.storeBlob, _), (.stream, _), (.missingBlobs, _), (.storePack, _):
            throw .forbidden("the token is of the wrong kind")
        }
    }
}

/// A number of things that may be under way at once, and how many of them for one operator.
final class ConcurrencyLimit: Sendable {
    private let count: Int
    private let perOperator: Int
    private let counts = Mutex<[OperatorName: Int]>([:])

    init(_ count: Int, perOperator: Int) {
        self.count = count
        self.perOperator = perOperator
    }

    /// - Returns: a slot that is free again when it is dropped; `nil` when none is left.
    func acquire(for name: OperatorName) -> Slot? {
        let isTaken = counts.withLock { counts in
            guard counts.values.reduce(0, +) < count, counts[name, default: 0] < perOperator else {
                return false
            }
            counts[name, default: 0] += 1
            return true
        }
        return isTaken ? Slot(self, name) : nil
    }

    private func release(_ name: OperatorName) {
        counts.withLock { counts in
            counts[name, default: 0] -= 1
            if counts[name] == 0 { counts[name] = nil }
        }
    }

    final class Slot: Sendable {
        private let limit: ConcurrencyLimit
        private let name: OperatorName

        fileprivate init(_ limit: ConcurrencyLimit, _ name: OperatorName) {
            self.limit = limit
            self.name = name
        }

        deinit { limit.release(name) }
    }
}

extension HTTPField.Name {
    // A literal of letters and a hyphen is a field name.
    static let sluiceProtocol = HTTPField.Name("Sluice-Protocol") ?? .userAgent
}

extension Response {
    /// Has the connection closed after this answer.
    fileprivate mutating func closing(_ channel: any Channel) {
        headers[.connection] = "close"
        let whole = body
        body = ResponseBody(contentLength: whole.contentLength) { writer in
            try await whole.write(writer)
            channel.close(mode: .input, promise: nil)
        }
    }
}
