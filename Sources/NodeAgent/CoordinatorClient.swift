// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ControlAPI
import CurlClient
import FoundationEssentials
import UpgradeModel

/// What a node asks of the coordinator and tells it. Dials out; nobody dials in.
struct CoordinatorClient: Sendable {
    var address: AgentConfiguration.CoordinatorAddress
    var token: HTTPSecret
    /// For questions and statuses.
    var client: CurlClient
    /// For blobs: it writes files on its thread, and a slow disk delays nothing else.
    var downloads: CurlClient

    /// A directive, a receipt or an error; a blob says its own limit.
    private static let answerBytesAtMost = 1 << 20

    /// Why the coordinator gave no answer that can be used.
    struct Failure: Error, CustomStringConvertible {
        var message: String
        /// It answered, and the answer was no.
        var isRefusal = false
        var description: String { message }
    }

    /// Waits for a directive that is newer than what is known.
    ///
    /// - Returns: `nil` when the wait is over.
    func directive(after known: Directive?, wait: Span) async throws(Failure) -> Directive? {
        let query = DirectiveQuery(
            epoch: known?.epoch ?? .zero, revision: known?.revision ?? 0, wait: wait)
        var request = request(.get, "\(Path.directive)?\(query.text)", body: .none)
        request.timeouts.total = .milliseconds(wait.milliseconds + 10_000)
        let response = try await perform(request)
        if response.status == 204 { return nil }
        let directive = try decode(Directive.self, response)
        if let problem = directive.limitProblem {
            throw Failure(
                message: "a directive of the coordinator is refused: \(problem)", isRefusal: true)
        }
        return directive
    }

    func send(_ status: NodeStatus) async throws(Failure) -> StatusReceipt {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let body = try? encoder.encode(status) else {
            throw Failure(message: "the status cannot be written as JSON")
        }
        let response = try await perform(request(.post, Path.status, body: .bytes(Array(body))))
        return try decode(StatusReceipt.self, response)
    }

    /// A small blob, whole.
    func blob(_ digest: Digest, atMost limit: Int) async throws(Failure) -> [UInt8] {
        var request = request(.get, Path.blob(digest), body: .none)
        request.maximumBody = limit
        request.timeouts = HTTPTimeouts(total: .seconds(120))
        return try await perform(request).body
    }

    func request(_ method: HTTPMethod, _ path: String, body: HTTPBody) -> HTTPRequest {
        var headers = [HTTPHeader("Sluice-Protocol", "\(protocolVersion)")]
        if case .bytes = body { headers.append(HTTPHeader("Content-Type", "application/json")) }
        return HTTPRequest(
            method, address.url + path, headers: headers, body: body, bearerToken: token,
            timeouts: HTTPTimeouts(connect: .seconds(2), total: .seconds(5)),
            tls: TLSFiles(authorities: address.authorities),
            maximumBody: CoordinatorClient.answerBytesAtMost)
    }

    private func perform(_ request: HTTPRequest) async throws(Failure) -> HTTPResponse {
        let response: HTTPResponse
        do throws(HTTPFailure) {
            response = try await client.perform(request)
        } catch {
            throw Failure(message: error.message)
        }
        guard (200...299).contains(response.status) else {
            throw CoordinatorClient.refusal(response.status, response.body)
        }
        return response
    }

    static func refusal(_ status: Int, _ body: [UInt8]) -> Failure {
        if let error = try? JSONDecoder().decode(APIError.self, from: Data(body)) {
            return Failure(
                message:
                    "the coordinator answered \(status): \(String(error.description.prefix(500)))",
                isRefusal: true)
        }
        let advice =
            status == 401 || status == 403
            ? "; is the node's token the one that the coordinator knows?" : ""
        return Failure(message: "the coordinator answered \(status)\(advice)", isRefusal: true)
    }

    private func decode<Value: Decodable>(_ type: Value.Type, _ response: HTTPResponse)
        throws(Failure) -> Value
    {
        do {
            return try JSONDecoder().decode(type, from: Data(response.body))
        } catch {
            throw Failure(
                message:
                    "the coordinator's answer cannot be read as \(type); is it of the same version as this agent?",
                isRefusal: true)
        }
    }
}

/// How long to wait before the next attempt: 50 ms, doubled each time up to 2 s, and of that a random part, so that a fleet does not
/// come back all at once.
struct Backoff: Sendable {
    private var attempts: Int64 = 0

    mutating func reset() { attempts = 0 }

    mutating func wait() async {
        let most: Int64 = min(2000, 50 << min(attempts, 6))
        attempts += 1
        try? await Task.sleep(for: .milliseconds(Int64.random(in: most / 2...most)))
    }
}
