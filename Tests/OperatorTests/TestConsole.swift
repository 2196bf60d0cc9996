// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Synchronization
import Testing

@testable import Operator

/// A console that keeps what is written.
final class TestConsole: Sendable {
    private let kept = Mutex((out: "", err: ""))

    var out: String { kept.withLock { $0.out } }
    var err: String { kept.withLock { $0.err } }
    var lines: [String] {
        out.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    func console(terminal: Bool = false, answer: String? = nil) -> Console {
        Console(
            write: { text in self.kept.withLock { $0.out += text } },
            writeError: { text in self.kept.withLock { $0.err += text } }, isTerminal: terminal,
            isInteractive: terminal, inColour: false, size: { (100, 30) }, readLine: { answer })
    }
}

/// The exit code that a command ends with.
func exitCode(_ command: () async throws -> Void) async -> Int32 {
    do {
        try await command()
        return 0
    } catch let code as ExitCode {
        return code.rawValue
    } catch {
        Issue.record(error)
        return -1
    }
}

/// A directory of the test's own with a plan, a bundle and migrations.
struct PlanDirectory: ~Copyable {
    let path: String
    var plan: String { "\(path)/plan.yaml" }

    init(plan text: String = SampleRun.plan) throws {
        path = FileManager.default.temporaryDirectory.path + "/sluice-operator-\(UUID().uuidString)"
        for directory in ["bundle/static/assets", "migrations"] {
            try FileManager.default.createDirectory(
                atPath: "\(path)/\(directory)", withIntermediateDirectories: true)
        }
        try write("plan.yaml", text)
        try write("bundle/app.py", "print('v2')\n")
        try write("bundle/static/assets/app.1234.js", "hello()\n")
        try write("migrations/0001_entries.up.sql", "CREATE TABLE entry ();\n")
        try write("migrations/0001_entries.down.sql", "DROP TABLE entry;\n")
        try write(
            "migrations/0002_index.up.sql",
            "-- Made while everybody writes.\n-- sluice: expand\nCREATE INDEX recent ON entry ((1));\n"
        )
    }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
