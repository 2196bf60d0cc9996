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
    ///   - standard: what is a good answer; `nil`: the one that the check says.
    func ask(
        _ check: HealthCheck, release: ReleaseName, applicationSocket: String?,
        standard: HealthGoal.AnswerStandard? = nil
    ) async -> (isGood: Bool, detail: String) {
        guard var request = request(check, applicationSocket: applicationSocket) else {
            return (
                false, "the check needs the release's socket, and the release is not on this node"
            )
        }
        if check.destination != .applicationSocket, let pass = pass() {
            request.headers.append(HTTPHeader(pass.name, pass.value))
        }
        do throws(SystemFailure) {
            for header in check.requestHeaders { request.headers.append(try HTTPHeader(header)) }
        } catch {
            return (false, error.message)
        }
        let response: HTTPResponse
        let client = CurlClient()
        defer { client.close() }
        do throws(HTTPFailure) {
            response = try await client.perform(request)
        } catch {
            return (false, error.message)
        }
        if standard == .anyAnswer {
            let isThere = !HealthProber.absent.contains(response.status)
            return (isThere, "\(check.path) answered \(response.status)")
        }
        guard response.status == check.status else {
            return (false, "\(check.path) answered \(response.status), not \(check.status)")
        }
        if let expected = check.header {
            let wanted = expected.value.replacing("{release}", with: release.rawValue)
            guard let found = response.head.first(expected.name) else {
                return (
                    false,
                    "\(check.path) answered \(response.status) without the header \(expected.name)"
                )
            }
            guard found == wanted else {
                return (
                    false,
                    "\(check.path) answered with \(expected.name): \(shown(found)), not \(wanted)"
                )
            }
        }
        if let body = check.body {
            let text = body.replacing("{release}", with: release.rawValue)
            guard contains(response.body, text) else {
                return (
                    false,
                    "\(check.path) answered \(response.status) without \(shown(text)) in its body"
                )
            }
        }
        return (true, "\(check.path) answered \(response.status)")
    }

    /// - Returns: `nil` when anything is answered over HTTP.
    func trouble(asking check: HealthCheck, at socket: String) async -> String? {
        guard let request = request(check, applicationSocket: socket) else { return nil }
        let client = CurlClient()
        defer { client.close() }
        do throws(HTTPFailure) {
            _ = try await client.perform(request)
            return nil
        } catch {
            return error.message
        }
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
