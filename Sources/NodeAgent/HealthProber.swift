// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import CurlClient
import UpgradeModel

/// Asks a health check's question once: at an address that the configuration declares, without following redirects.
///
/// On a connection of its own, as the proxy's are. One that is kept would be counted among the reads that have not left the
/// application, and the next write window would wait for it in vain.
struct HealthProber: Sendable {
    /// Lets a question through while the proxy holds reads: what decides whether they go on must not wait with them.
    var pass: @Sendable () -> (name: String, value: String)? = { nil }

    /// What a proxy answers for an application that is not there, or an application that is not ready.
    private static let absent: Set<Int> = [502, 503, 504]

    /// - Parameters:
    ///   - applicationSocket: where the release that is asked about listens, as far as there is one.
    ///   - files: the directory with its files, for a check in FastCGI.
    ///   - standard: what is a good answer; `nil`: the one that the check says.
    func ask(
        _ check: HealthCheck, release: ReleaseName, applicationSocket: String?,
        files: String? = nil, standard: HealthGoal.AnswerStandard? = nil
    ) async -> (isGood: Bool, detail: String) {
        do throws(SystemFailure) {
            let response = try await answer(to: check, applicationSocket, files)
            if standard == .anyAnswer {
                let isThere = !HealthProber.absent.contains(response.status)
                return (isThere, "\(check.path) answered \(response.status)")
            }
            if let fault = fault(in: response, check, release) { return (false, fault) }
            return (true, "\(check.path) answered \(response.status)")
        } catch {
            return (false, error.message)
        }
    }

    private func answer(
        to check: HealthCheck, _ applicationSocket: String?, _ files: String?
    ) async throws(SystemFailure) -> HTTPResponse {
        if let question = try fastCGI(check, applicationSocket, files) {
            return try await question.ask(within: check.timeout)
        }
        guard var request = request(check, applicationSocket: applicationSocket) else {
            throw SystemFailure(
                "the check needs the release's socket, and the release is not on this node")
        }
        if check.destination != .applicationSocket, let pass = pass() {
            request.headers.append(HTTPHeader(pass.name, pass.value))
        }
        for header in check.requestHeaders { request.headers.append(try HTTPHeader(header)) }
        return try await perform(request)
    }

    /// - Returns: what is wrong with an answer; `nil` when it is the one that the check says.
    private func fault(
        in response: HTTPResponse, _ check: HealthCheck, _ release: ReleaseName
    ) -> String? {
        let said = "\(check.path) answered \(response.status)"
        guard response.status == check.status else { return "\(said), not \(check.status)" }
        if let expected = check.header {
            let wanted = expected.value.replacing("{release}", with: release.rawValue)
            guard let found = response.head.first(expected.name) else {
                return "\(said) without the header \(expected.name)"
            }
            guard found == wanted else {
                return
                    "\(check.path) answered with \(expected.name): \(shown(found)), not \(wanted)"
            }
        }
        if let body = check.body {
            let text = body.replacing("{release}", with: release.rawValue)
            guard contains(response.body, text) else {
                return "\(said) without \(shown(text)) in its body"
            }
        }
        return nil
    }

    /// - Returns: `nil` when anything is answered over HTTP, or in FastCGI.
    func trouble(asking check: HealthCheck, at socket: String, files: String) async -> String? {
        do throws(SystemFailure) {
            if let question = try fastCGI(check, socket, files) {
                _ = try await question.ask(within: check.timeout)
            } else if let request = request(check, applicationSocket: socket) {
                _ = try await perform(request)
            }
            return nil
        } catch {
            return error.message
        }
    }

    private func perform(_ request: HTTPRequest) async throws(SystemFailure) -> HTTPResponse {
        let client = CurlClient()
        defer { client.close() }
        do throws(HTTPFailure) {
            return try await client.perform(request)
        } catch {
            // php-fpm hangs up on whoever speaks HTTP.
            let hint = "; where php-fpm listens, the check needs `fastcgi: index.php`"
            let isMute = error.code == .interrupted && request.unixSocket != nil
            throw SystemFailure(error.message + (isMute ? hint : ""))
        }
    }

    /// - Returns: `nil` for a question over HTTP.
    private func fastCGI(
        _ check: HealthCheck, _ applicationSocket: String?, _ files: String?
    ) throws(SystemFailure) -> FastCGI? {
        guard let script = check.script, let files else { return nil }
        let socket: String
        switch check.destination {
        case .applicationSocket:
            guard let applicationSocket else { return nil }
            socket = applicationSocket
        case .socket(let path): socket = path
        case .address, .action: return nil
        }
        var headers = [HTTPHeader("Cache-Control", "no-cache")]
        for header in check.requestHeaders { headers.append(try HTTPHeader(header)) }
        return FastCGI(
            socket: socket, script: "\(files)/\(script)", page: check.path, host: check.host,
            headers: headers)
    }

    private func request(_ check: HealthCheck, applicationSocket: String?) -> HTTPRequest? {
        var request = HTTPRequest(
            .get, "http://\(check.host)\(check.path)",
            headers: [HTTPHeader("Cache-Control", "no-cache")],
            timeouts: HTTPTimeouts(
                connect: .milliseconds(check.timeout.milliseconds),
                total: .milliseconds(check.timeout.milliseconds)))
        switch check.destination {
        case .applicationSocket:
            guard let applicationSocket else { return nil }
            request.unixSocket = applicationSocket
        case .action: return nil
        case .socket(let path): request.unixSocket = path
        case .address(let address):
            request.url = "http://\(address)\(check.path)"
            if check.host != "localhost" { request.headers.append(HTTPHeader("Host", check.host)) }
        }
        return request
    }

    private func contains(_ body: [UInt8], _ text: String) -> Bool {
        String(decoding: body, as: UTF8.self).contains(text)
    }

    private func shown(_ text: String) -> String { TaskOutcome.text(Array(text.utf8), limit: 80) }
}
