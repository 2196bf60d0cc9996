// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What a scenario did, told once and compared ever after: the files under Tests/Scenarios.
enum Transcript {
    static func compare(_ world: ScenarioWorld, _ name: String) throws {
        #expect(world.violations == [])
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = folder.appending(path: "Scenarios/\(name).txt")
        if ProcessInfo.processInfo.environment["SLUICE_REGENERATE"] != nil {
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try world.text.write(to: file, atomically: true, encoding: .utf8)
        }
        let expected = try String(contentsOf: file, encoding: .utf8)
        #expect(
            world.text == expected, "the transcript \(name) differs; regenerate and review the diff"
        )
    }
}
