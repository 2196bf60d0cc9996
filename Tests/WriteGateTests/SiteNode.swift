// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import TestSupport
import UpgradeModel
import WriteGate

/// A server of somebody's own, with whatever sites have in theirs, around the shipped snippets.
final class SiteNode: Sendable {
    let directory: TemporaryDirectory
    private let site: GatedSite
    var nginx: PrivateNginx { site.nginx }
    var application: RecordingApplication { site.application }

    var runtime: String { directory.path + "/run" }
    var client: HTTPClient { nginx.client() }

    /// - Parameters:
    ///   - before: lines of the server above the include. `APP` stands for the application, `FILES` for a directory.
    ///   - after: those below it.
    ///   - routes: what stands in `sluice-routes.conf`.
    ///   - http: lines of the `http` block above the include.
    init(
        before: String = "", after: String = "location / { proxy_pass APP; }", http: String = "",
        listen: String = "", sessionCookie: String = "sessionid", routes: String? = nil,
        reply: (@Sendable (RecordingApplication.Request) -> RecordingApplication.Reply)? = nil
    ) async throws {
        directory = try TemporaryDirectory()
        let runtime = directory.path + "/run"
        try FileManager.default.createDirectory(
            atPath: runtime, withIntermediateDirectories: true)
        site = try await GatedSite(
            in: directory.path, runtime: runtime, before: before, after: after, http: http,
            listen: listen,
            edit: {
                if let routes, $0.contains("map \"$request_method $uri\" $sluice_kind {") {
                    return routes
                }
                return $0.replacingOccurrences(
                    of: "cookie_sessionid", with: "cookie_\(sessionCookie)")
            },
            reply: reply)
    }

    func gate(_ setting: GateSetting? = nil) throws -> WriteGate {
        let gate = try WriteGate(GateConfiguration(runtimeDirectory: runtime))
        if let setting { try gate.set(setting) }
        return gate
    }

    /// Sends a probe as an agent does.
    func probe(_ gate: WriteGate, path: String = "/_sluice/probe") async throws
        -> GateProbe.Answer
    {
        let probe = gate.makeProbe()
        let headers = Dictionary(uniqueKeysWithValues: probe.headers.map { ($0.name, $0.value) })
        let response = try await client.send(GateProbe.method, path, headers: headers)
        return probe.verdict(
            wasAsked: gate.wasAsked(about: probe), passage: gate.passage(of: probe),
            status: response.status, headers: response.headers)
    }
}
