// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import TestSupport
import UpgradeModel
import WriteGate

/// A server of somebody's own, with whatever sites have in theirs, around the shipped snippets.
final class SiteNode: Sendable {
    let directory: TemporaryDirectory
    let nginx: PrivateNginx
    let application: RecordingApplication

    var runtime: String { directory.path + "/run" }
    var client: HTTPClient { nginx.client() }

    /// - Parameters:
    ///   - before: lines of the server above the include. `APP` stands for the application, `FILES` for a directory.
    ///   - after: those below it.
    ///   - http: lines of the `http` block above the include.
    init(
        before: String = "", after: String = "location / { proxy_pass APP; }", http: String = "",
        listen: String = "", sessionCookie: String = "sessionid",
        reply: (@Sendable (RecordingApplication.Request) -> RecordingApplication.Reply)? = nil
    ) async throws {
        directory = try TemporaryDirectory()
        let path = directory.path
        for part in ["run", "files", "snippets"] {
            try FileManager.default.createDirectory(
                atPath: "\(path)/\(part)", withIntermediateDirectories: true)
        }
        application = try RecordingApplication(at: path + "/app.sock", name: "ok", reply: reply)
        for name in ["sluice-http.conf", "sluice-server.conf", "sluice-routes.conf"] {
            try directory.write(
                String(contentsOfFile: "\(nginxSnippets)/\(name)", encoding: .utf8)
                    .replacingOccurrences(of: "/run/sluice", with: "\(path)/run")
                    .replacingOccurrences(of: "/etc/nginx/sluice", with: "\(path)/snippets")
                    .replacingOccurrences(of: "cookie_sessionid", with: "cookie_\(sessionCookie)"),
                to: "snippets/\(name)")
        }
        func placed(_ text: String) -> String {
            text.replacingOccurrences(of: "APP", with: "http://unix:\(path)/app.sock")
                .replacingOccurrences(of: "FILES", with: path + "/files")
        }
        let address = privateLoopbackAddress()
        nginx = try await PrivateNginx(
            in: path, address: address,
            http: """
                \(placed(http))
                include \(path)/snippets/sluice-http.conf;
                server {
                    listen \(address):8080\(listen);
                    \(placed(before))
                    include \(path)/snippets/sluice-server.conf;
                    \(placed(after))
                }
                """)
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
            wasAsked: gate.wasAsked(about: probe), status: response.status,
            headers: response.headers)
    }
}
