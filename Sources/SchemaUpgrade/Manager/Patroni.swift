// SPDX-License-Identifier: Apache-2.0

import CurlClient
import FoundationEssentials
import UpgradeModel

/// Patroni's REST API: any member answers for the whole cluster.
struct Patroni: Sendable {
    private let url: String
    /// What a member wants before it changes anything, if it wants it.
    private let authorization: String?
    private let client = CurlClient()

    /// - Parameter address: `http://db-1.internal:8008`, with `USER:PASSWORD@` before the host where changes want it.
    /// - Throws: `manager-address`; the address is not repeated.
    init(_ address: String, mayBeInClear: Bool) throws(DatabaseFailure) {
        var parts = address.split(separator: "://", maxSplits: 1).map(String.init)
        var authorization: String?
        if parts.count == 2, let at = parts[1].lastIndex(of: "@") {
            let user = String(parts[1][..<at])
            parts[1] = String(parts[1][parts[1].index(after: at)...])
            authorization = "Basic " + Data(Patroni.decoded(user)).base64EncodedString()
        }
        var url = parts.joined(separator: "://")
        while url.hasSuffix("/") { url.removeLast() }
        guard let found = HTTPAddress(url) else {
            throw DatabaseFailure(
                code: "manager-address", "the address of Patroni's REST API cannot be read",
                advice:
                    "write it as http://USER:PASSWORD@HOST:8008 in the coordinator's environment"
            )
        }
        guard authorization == nil || !found.isInClear || mayBeInClear else {
            throw DatabaseFailure(
                code: "manager-address",
                "the password of Patroni's REST API would travel to \(found.host) in clear",
                advice:
                    "use https, or write `tls: optional` in the plan's `database` where the network is trusted"
            )
        }
        self.url = url
        self.authorization = authorization
    }

    /// What a URL has as `%40` or as it is.
    private static func decoded(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Substring(text)
        while let first = rest.popFirst() {
            let digits = rest.prefix(2)
            if first == "%", digits.count == 2, let byte = UInt8(digits, radix: 16) {
                bytes.append(byte)
                rest = rest.dropFirst(2)
            } else {
                bytes += Array(String(first).utf8)
            }
        }
        return bytes
    }

    func cluster() async throws -> PatroniAnswer.Cluster {
        try await answer(HTTPRequest(.get, url + "/cluster"))
    }

    func settings() async throws -> PatroniAnswer.Settings {
        try await answer(HTTPRequest(.get, url + "/config"))
    }

    /// A member is asked itself: the others may know less of it.
    func node(_ member: PatroniAnswer.Member) async throws -> PatroniAnswer.Node {
        var request = HTTPRequest(.get, member.api_url)
        request.timeouts = HTTPTimeouts(connect: .seconds(2), total: .seconds(4))
        // 503 is the answer of a member whose server does not run.
        return try await answer(request, accepting: [200, 503])
    }

    /// - Parameter change: of the cluster's settings, as JSON; `null` takes a key away.
    func change(_ change: String) async throws {
        try await told(.patch, "/config", change)
    }

    /// Makes a member the leader; returns when it is, or when Patroni has given up.
    func switchOver(from leader: String, to candidate: String) async throws {
        let body =
            "{\"leader\": \(Patroni.json(leader)), \"candidate\": \(Patroni.json(candidate))}"
        try await told(.post, "/switchover", body)
    }

    static func json(_ text: String) -> String {
        let bytes = (try? JSONEncoder().encode(text)) ?? Data("\"\"".utf8)
        return String(decoding: bytes, as: UTF8.self)
    }

    private func told(_ method: HTTPMethod, _ path: String, _ body: String) async throws {
        var request = HTTPRequest(method, url + path, body: .bytes(Array(body.utf8)))
        request.headers = [HTTPHeader("Content-Type", "application/json")]
        if let authorization { request.headers.append(HTTPHeader("Authorization", authorization)) }
        request.timeouts = HTTPTimeouts(connect: .seconds(3), total: .seconds(90))
        _ = try await response(request, accepting: [200, 202])
    }

    private func answer<Answer: Decodable>(
        _ request: HTTPRequest, accepting statuses: Set<Int> = [200]
    ) async throws -> Answer {
        let body = try await response(request, accepting: statuses).body
        do {
            return try JSONDecoder().decode(Answer.self, from: Data(body))
        } catch {
            throw DatabaseFailure(
                code: "manager-answer", "\(request.url) does not answer as Patroni does",
                advice: Patroni.lookAtAddress)
        }
    }

    private func response(
        _ request: HTTPRequest, accepting statuses: Set<Int>
    ) async throws -> HTTPResponse {
        let response: HTTPResponse
        do throws(HTTPFailure) {
            response = try await client.perform(request)
        } catch {
            throw DatabaseFailure(
                code: "manager-unreachable", "Patroni does not answer: \(error)",
                advice:
                    "see that the coordinator reaches the REST API of every member of the cluster")
        }
        if statuses.contains(response.status) { return response }
        let words = String(decoding: response.body.prefix(300), as: UTF8.self)
        let isRefused = [401, 403].contains(response.status)
        throw DatabaseFailure(
            code: "manager-refused",
            "Patroni answers \(request.method) \(request.url) with status \(response.status): \(words)",
            advice: isRefused
                ? "give its address user and password: http://USER:PASSWORD@HOST:8008"
                : Patroni.lookAtAddress)
    }

    private static let lookAtAddress =
        "see in Patroni's log why, and that the address is the one of its REST API"
}
