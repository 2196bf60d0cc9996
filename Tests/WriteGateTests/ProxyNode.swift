// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import TestSupport

/// One node with the shipped files of another proxy, a directory laid out as on a node, an application, and a gate.
final class ProxyNode: FlippableNode {
    let directory: TemporaryDirectory
    let application: RecordingApplication
    let proxy: PrivateProxy
    private let releases: ApplicationDirectory

    var client: HTTPClient { proxy.client() }

    /// - Parameter edit: changes a shipped file, for tests of hazards.
    init(
        _ kind: PrivateProxy.Kind, edit: @escaping @Sendable (String) -> String = { $0 },
        reply: (@Sendable (RecordingApplication.Request) -> RecordingApplication.Reply)? = nil
    ) async throws {
        directory = try TemporaryDirectory()
        let path = directory.path
        try FileManager.default.createDirectory(
            atPath: path + "/run", withIntermediateDirectories: true)
        releases = ApplicationDirectory(path: path + "/app")
        application = try releases.release("1-v1", name: "v1", reply: reply)
        try releases.flip(to: "1-v1")
        proxy = try await PrivateProxy(
            kind, in: path, runtime: path + "/run", application: path + "/app", edit: edit)
    }

    func release(_ activation: String, name: String) throws -> RecordingApplication {
        try releases.release(activation, name: name)
    }

    func flip(to activation: String) throws { try releases.flip(to: activation) }

    func reload() throws { try proxy.reload() }
}
