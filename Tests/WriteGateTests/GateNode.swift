// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import TestSupport
import UpgradeModel
import WriteGate

/// One node: the shipped snippets in a real nginx, a directory laid out as on a node, an application, and a gate.
final class GateNode: FlippableNode {
    let directory: TemporaryDirectory
    let nginx: PrivateNginx
    let application: RecordingApplication
    private let releases: ApplicationDirectory

    var client: HTTPClient { nginx.client() }

    /// - Parameters:
    ///   - routes: lines of the routes map, in place of the shipped, empty one.
    ///   - server: what stands in for the shipped example site's own lines, for tests of hazards.
    init(
        routes: GateRoutes? = nil, workers: Int = 1, extra: String = "",
        edit: (String) -> String = { $0 },
        reply: (@Sendable (RecordingApplication.Request) -> RecordingApplication.Reply)? = nil
    ) async throws {
        directory = try TemporaryDirectory()
        let path = directory.path
        let address = privateLoopbackAddress()
        for part in ["run", "cache"] {
            try FileManager.default.createDirectory(
                atPath: "\(path)/\(part)", withIntermediateDirectories: true)
        }
        releases = ApplicationDirectory(path: path + "/app")
        application = try releases.release("1-v1", name: "v1", reply: reply)
        try releases.flip(to: "1-v1")
        func localised(_ name: String) throws -> String {
            try String(contentsOfFile: "\(nginxSnippets)/\(name)", encoding: .utf8)
                .replacingOccurrences(of: "/run/sluice", with: "\(path)/run")
                .replacingOccurrences(of: "/etc/nginx/sluice", with: "\(path)/snippets")
                .replacingOccurrences(of: "/srv/guestbook", with: "\(path)/app")
                .replacingOccurrences(of: "/var/cache/nginx/guestbook", with: "\(path)/cache/pages")
                .replacingOccurrences(of: "/var/log/nginx", with: path)
                .replacingOccurrences(of: "listen 127.0.0.1:80;", with: "listen \(address):8080;")
        }
        for name in [
            "sluice-http.conf", "sluice-server.conf", "sluice-routes.conf",
            "sluice-out-of-service.conf",
        ] {
            try directory.write(edit(localised(name)), to: "snippets/\(name)")
        }
        if let routes { try directory.write(routes.nginxMap, to: "snippets/sluice-routes.conf") }
        nginx = try await PrivateNginx(
            in: path, address: address, workers: workers,
            http: "include \(path)/snippets/sluice-http.conf;\n" + edit(localised("site.conf"))
                + extra)
    }

    /// Makes a second release on disk, with an application on its own socket, and does not activate it.
    func release(_ activation: String, name: String) throws -> RecordingApplication {
        try releases.release(activation, name: name)
    }

    func flip(to activation: String) throws { try releases.flip(to: activation) }

    func reload() { nginx.signal(SIGHUP) }
}

extension GateSetting {
    static func hold(
        _ atMost: Int = 100, for duration: Span = .seconds(60), retryAfter: Span = .seconds(7)
    ) -> GateSetting {
        GateSetting(
            writes: .hold(HoldLimits(atMost: atMost, duration: duration, retryAfter: retryAfter)))
    }

    static let refuse = GateSetting(
        writes: .refuse(retryAfter: .milliseconds(6500), message: "Back at noon."))

    static let holdAll: GateSetting = {
        var setting = GateSetting.hold()
        setting.readHold = HoldLimits(atMost: 100, duration: .seconds(60), retryAfter: .seconds(3))
        return setting
    }()
}
