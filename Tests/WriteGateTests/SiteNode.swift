// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import TestSupport

/// A server of somebody's own, with whatever sites have in theirs, around the shipped snippets.
final class SiteNode: GatedNode {
    let directory: TemporaryDirectory
    private let site: GatedSite
    var nginx: PrivateNginx { site.nginx }
    var application: RecordingApplication { site.application }

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
}
