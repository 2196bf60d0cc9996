// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// A server of somebody's own, with whatever sites have in theirs, around the shipped snippets, and an application behind it.
public struct GatedSite: Sendable {
    public let nginx: PrivateNginx
    public let application: RecordingApplication

    /// - Parameters:
    ///   - path: a directory for everything.
    ///   - runtime: the agent's.
    ///   - before: lines of the server above the include. `APP` stands for the application, `FILES` for a directory.
    ///   - after: those below it.
    ///   - http: lines of the `http` block above the include.
    public init(
        in path: String, runtime: String, before: String = "",
        after: String = "location / { proxy_pass APP; }", http: String = "", listen: String = "",
        address: String = privateLoopbackAddress(),
        edit: (String) -> String = { $0 },
        reply: (@Sendable (RecordingApplication.Request) -> RecordingApplication.Reply)? = nil
    ) async throws {
        for part in ["files", "snippets"] {
            try FileManager.default.createDirectory(
                atPath: "\(path)/\(part)", withIntermediateDirectories: true)
        }
        application = try RecordingApplication(at: path + "/app.sock", name: "ok", reply: reply)
        for name in ["sluice-http.conf", "sluice-server.conf", "sluice-routes.conf"] {
            let text = try String(contentsOfFile: "\(nginxSnippets)/\(name)", encoding: .utf8)
                .replacingOccurrences(of: "/run/sluice", with: runtime)
                .replacingOccurrences(of: "/etc/nginx/sluice", with: "\(path)/snippets")
            try edit(text).write(
                toFile: "\(path)/snippets/\(name)", atomically: true, encoding: .utf8)
        }
        func placed(_ text: String) -> String {
            text.replacingOccurrences(of: "APP", with: "http://unix:\(path)/app.sock")
                .replacingOccurrences(of: "FILES", with: path + "/files")
        }
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
}
