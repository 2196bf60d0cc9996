// SPDX-License-Identifier: Apache-2.0

import Files
import Glibc
import Synchronization
import UpgradeModel

/// Keeps a process's output: all of it up to a limit in a file, its beginning and its end in memory.
final class OutputKeeper: Sendable {
    private struct State {
        var written = 0
        var first: [UInt8] = []
        var last: [UInt8] = []
        var process: pid_t?
    }
    private let descriptor: Int32
    private let limit: Int
    private let state = Mutex(State())

    init(file: String, limit: Int) throws(SystemFailure) {
        self.limit = limit
        descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw SystemFailure(errno: "create \(file)") }
    }

    deinit {
        close(descriptor)
    }

    func began(_ process: pid_t) { state.withLock { $0.process = process } }

    /// Ends whatever of the process's session has outlived it.
    func endGroup() {
        if let process = state.withLock({ $0.process }), process > 1 { kill(-process, SIGKILL) }
    }

    // SAFETY: the bytes are used during the call only.
    func add(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { state in
            let room = min(bytes.count, limit - state.written)
            if room > 0, (try? writeAll(bytes.prefix(room), to: descriptor, "the output")) != nil {
                state.written += room
            }
            state.first += bytes.prefix(max(0, TaskOutcome.previewLimit - state.first.count))
            state.last += bytes
            if state.last.count > 4 * TaskOutcome.outputLimit {
                state.last.removeFirst(state.last.count - 2 * TaskOutcome.outputLimit)
            }
        }
    }

    /// At most 200 bytes of the last line that says something.
    func lastLine() -> String {
        let lines = state.withLock { $0.last.suffix(1000) }.split { $0 == 10 || $0 == 13 }
        let line = lines.last { $0.contains { $0 > 32 } } ?? []
        return TaskOutcome.text(Array(line.suffix(200)), limit: 200)
    }

    /// The first of it that fits into a preview.
    func beginning() -> String {
        TaskOutcome.text(state.withLock { $0.first }, limit: TaskOutcome.previewLimit)
    }

    func tail(_ limit: Int) -> String { TaskOutcome.text(state.withLock { $0.last }, limit: limit) }
}

extension TaskOutcome {
    /// The end of a program's output as a text that fits and can be shown: valid UTF-8, no control characters but line feeds and
    /// tabs.
    static func text(_ bytes: [UInt8], limit: Int = outputLimit) -> String {
        let text = String(decoding: bytes.suffix(limit), as: UTF8.self)
        let scalars = text.unicodeScalars.map { scalar -> Unicode.Scalar in
            let isShown =
                scalar == "\n" || scalar == "\t" || scalar.properties.generalCategory != .control
            return isShown ? scalar : "\u{FFFD}"
        }
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        // A replacement character is longer than the byte that it stands for.
        var result = Substring(String(view))
        while result.utf8.count > limit {
            result = result.dropFirst(max(1, (result.utf8.count - limit) / 4))
        }
        return String(result)
    }

    static func text(_ output: String, endingWith reason: String) -> String {
        let separator = output.isEmpty || output.hasSuffix("\n") ? "" : "\n"
        return text(Array("\(output)\(separator)\(reason)".utf8))
    }
}
