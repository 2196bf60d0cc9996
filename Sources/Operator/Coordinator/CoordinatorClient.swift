// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import CurlClient
internal import FoundationEssentials
internal import Synchronization
internal import UpgradeEngine
internal import UpgradeModel

/// The coordinator as the commands see it: the only place that sends HTTP.
///
/// Everything that it sends may be sent twice: blobs are named by their digest, and requests carry an identifier of their own.
struct CoordinatorClient: Sendable {
    let connection: Connection
    private let curl: CurlClient
    /// How long a request is tried again while the coordinator is away, as it is when it is being restarted.
    var patience: Duration = .zero

    init(_ connection: Connection) {
        self.connection = connection
        curl = CurlClient(CurlClient.Configuration(maximumConnections: 8, maximumRequests: 64))
    }

    /// The same with patience, for a command that has begun something.
    func patient(for duration: Duration) -> CoordinatorClient {
        var client = self
        client.patience = duration
        return client
    }

    func runs() async throws(CommandFailure) -> [RunSummary] {
        try decode(await send(.get, Path.runs, maximumBody: 16 << 20))
    }

    func run(_ run: RunIdentifier) async throws(CommandFailure) -> ReceivedView {
        try decode(await send(.get, Path.run(run), maximumBody: 128 << 20))
    }

    func nodes() async throws(CommandFailure) -> [NodeView] {
        try decode(await send(.get, Path.nodes, maximumBody: 128 << 20))
    }

    func journal(of run: RunIdentifier) async throws(CommandFailure) -> ReceivedJournal {
        try decode(await send(.get, Path.journal(run), maximumBody: 512 << 20))
    }

    func start(_ start: StartRun) async throws(CommandFailure) -> ReceivedView {
        // It looks at each file of the bundle: on a busy machine tens of thousands take longer than an answer usually may.
        try decode(
            await send(
                .post, Path.runs, json: start, total: .seconds(300), maximumBody: 128 << 20))
    }

    /// What preflight would find in the plan's database now; `nil` when an older coordinator is asked, which cannot say.
    func databaseFindings(_ question: DatabaseQuestion) async throws(CommandFailure)
        -> [Diagnostic]?
    {
        do throws(CommandFailure) {
            let answer: DatabaseFindings = try decode(
                await send(.post, Path.databaseFindings, json: question, maximumBody: 16 << 20))
            return answer.findings
        } catch  where error.code == "not-found" {
            return nil
        }
    }

    func request(_ request: RunRequest, of run: RunIdentifier) async throws(CommandFailure)
        -> ReceivedView
    {
        try decode(await send(.post, Path.requests(run), json: request, maximumBody: 128 << 20))
    }

    func has(_ blob: Digest) async throws(CommandFailure) -> Bool {
        do throws(CommandFailure) {
            _ = try await send(.head, Path.blob(blob), maximumBody: 0)
            return true
        } catch  where error.code == "not-found" {
            return false
        }
    }

    /// Of so many blobs as a pack may have, those that the coordinator lacks.
    ///
    /// - Returns: `nil` when it is one of an earlier version, which has to be asked for each by itself.
    func missing(of blobs: [Digest]) async throws(CommandFailure) -> [Digest]? {
        do throws(CommandFailure) {
            let text = try await send(
                .post, Path.missingBlobs, body: .bytes(BlobPack.list(blobs)),
                headers: [HTTPHeader("Content-Type", "text/plain")])
            if text.isEmpty { return [] }
            guard let missing = BlobPack.digests(inList: text) else {
                throw CommandFailure(notUnderstoodAt: connection.url)
            }
            return missing
        } catch  where error.code == "not-found" {
            return nil
        }
    }

    func put(pack: [UInt8]) async throws(CommandFailure) {
        _ = try await send(
            .post, Path.storePack, body: .bytes(pack),
            headers: [HTTPHeader("Content-Type", "application/octet-stream")], total: nil,
            stall: .seconds(30))
    }

    func put(_ blob: Digest, _ body: HTTPBody) async throws(CommandFailure) {
        _ = try await send(.put, Path.blob(blob), body: body, total: nil, stall: .seconds(30))
    }

    /// Hands over what the coordinator tells of a run, as it comes, until it ends the stream or the connection breaks.
    ///
    /// - Parameters:
    ///   - version: what is known already; a coordinator that understands it leaves that out.
    ///   - nodes: how many nodes a view needs; `nil` for all. An older coordinator sends all.
    ///   - onBytes: called on the client's own thread; false ends the stream. SAFETY: the bytes are valid during the call only.
    func stream(
        _ run: RunIdentifier, after version: Int64, nodes: Int?,
        onBytes: @escaping @Sendable (UnsafeRawBufferPointer) -> Bool
    ) async throws(CommandFailure) {
        let query = nodes.map { "?nodes=\($0)" } ?? ""
        var request = request(.get, Path.stream(run) + query)
        request.headers.append(HTTPHeader("Accept", "text/event-stream"))
        request.headers.append(HTTPHeader("Last-Event-ID", "\(version)"))
        // The coordinator sends a comment every 15 s at least; three missed are a lost connection.
        request.timeouts = HTTPTimeouts(connect: .seconds(5), total: nil, stall: .seconds(45))
        request.maximumBody = .max
        let refused = Mutex((status: 0, body: [UInt8]()))
        do throws(HTTPFailure) {
            try await curl.stream(
                request,
                onHead: { head in
                    if head.status >= 300 { refused.withLock { $0.status = head.status } }
                    return true
                },
                onBytes: { bytes in
                    let isRefusal = refused.withLock { refused in
                        if refused.status != 0 {
                            refused.body += bytes.prefix(65_536 - refused.body.count)
                        }
                        return refused.status != 0
                    }
                    return isRefusal || onBytes(bytes)
                })
        } catch {
            throw CommandFailure(error, at: connection.url)
        }
        let answer = refused.withLock { $0 }
        if answer.status != 0 {
            throw CommandFailure(status: answer.status, body: answer.body, at: connection.url)
        }
    }

    /// The one place where a request is made.
    private func request(_ method: HTTPMethod, _ path: String) -> HTTPRequest {
        HTTPRequest(
            method, connection.url + path,
            headers: [
                HTTPHeader("Sluice-Protocol", "\(protocolVersion)"),
                HTTPHeader("User-Agent", "sluice"),
            ],
            bearerToken: connection.token, tls: TLSFiles(authorities: connection.authorities))
    }

    private func send(
        _ method: HTTPMethod, _ path: String, json: some Encodable,
        total: Duration = .seconds(30), maximumBody: Int
    ) async throws(CommandFailure) -> [UInt8] {
        guard let data = try? JSONEncoder().encode(json) else {
            throw CommandFailure(code: "internal", "the request cannot be written as JSON")
        }
        return try await send(
            method, path, body: .bytes(Array(data)),
            headers: [HTTPHeader("Content-Type", "application/json")], total: total,
            maximumBody: maximumBody)
    }

    private func send(
        _ method: HTTPMethod, _ path: String, body: HTTPBody = .none, headers: [HTTPHeader] = [],
        total: Duration? = .seconds(30), stall: Duration? = nil, maximumBody: Int = 1 << 20
    ) async throws(CommandFailure) -> [UInt8] {
        var request = request(method, path)
        request.headers += headers
        request.body = body
        request.timeouts = HTTPTimeouts(connect: .seconds(5), total: total, stall: stall)
        request.maximumBody = maximumBody
        let deadline = ContinuousClock.now + patience
        var pause = Duration.milliseconds(100)
        while true {
            do throws(CommandFailure) {
                return try await once(request)
            } catch {
                guard error.isTransient, ContinuousClock.now + pause < deadline else { throw error }
                try? await Task.sleep(for: pause)
                if Task.isCancelled { throw error }
                pause = min(pause * 2, .seconds(2))
            }
        }
    }

    private func once(_ request: HTTPRequest) async throws(CommandFailure) -> [UInt8] {
        let response: HTTPResponse
        do throws(HTTPFailure) { response = try await curl.perform(request) } catch {
            throw CommandFailure(error, at: connection.url)
        }
        if (200..<300).contains(response.status) { return response.body }
        throw CommandFailure(status: response.status, body: response.body, at: connection.url)
    }

    private func decode<Value: Decodable>(_ bytes: [UInt8]) throws(CommandFailure) -> Value {
        do { return try JSONDecoder().decode(Value.self, from: Data(bytes)) } catch {
            throw CommandFailure(notUnderstoodAt: connection.url)
        }
    }
}
