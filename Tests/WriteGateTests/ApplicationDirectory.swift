// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import TestSupport

/// An application's directory as the agent lays it out: activations, and the link to the one that is served.
struct ApplicationDirectory {
    let path: String

    /// Makes a release on disk, with an application on its own socket, and does not activate it.
    ///
    /// - Parameter activation: as in `2-v2`.
    func release(
        _ activation: String, name: String,
        reply: (@Sendable (RecordingApplication.Request) -> RecordingApplication.Reply)? = nil
    ) throws -> RecordingApplication {
        let directory = "\(path)/activations/\(activation)"
        for part in ["\(path)/assets", "\(directory)/files/static"] {
            try FileManager.default.createDirectory(atPath: part, withIntermediateDirectories: true)
        }
        let parts = activation.split(separator: "-", maxSplits: 1)
        let manifest = String(repeating: "0123456789abcdef", count: 4)
        try """
        sluice-activation 1
        generation \(parts[0])
        release \(parts[1])
        manifest \(manifest)

        """.write(toFile: directory + "/release", atomically: true, encoding: .utf8)
        return try RecordingApplication(at: directory + "/app.sock", name: name, reply: reply)
    }

    /// Moves `current` by one rename, as the agent does.
    func flip(to activation: String) throws {
        let temporary = path + "/.current.new"
        try FileManager.default.createSymbolicLink(
            atPath: temporary, withDestinationPath: "activations/\(activation)")
        guard rename(temporary, path + "/current") == 0 else {
            throw TestSupportFailure("rename: \(errno)")
        }
    }
}
