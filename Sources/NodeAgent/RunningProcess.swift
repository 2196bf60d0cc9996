// SPDX-License-Identifier: Apache-2.0

import Glibc

/// One process, and not another one that got its number later: the number with the time of its start (proc_pid_stat(5), field 22).
struct RunningProcess: Hashable, Sendable {
    let number: pid_t
    private let startedAt: String

    /// - Returns: `nil` when there is no such process.
    init?(_ number: pid_t) {
        guard number > 1, let startedAt = RunningProcess.start(of: number) else { return nil }
        self.number = number
        self.startedAt = startedAt
    }

    /// Reads what `write(to:)` has written.
    init?(file: String) {
        guard case .success(let text) = readText(file, atMost: 256) else { return nil }
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let number = pid_t(words[0]), number > 1 else { return nil }
        self.number = number
        startedAt = String(words[1])
    }

    var isRunning: Bool { RunningProcess.start(of: number) == startedAt }

    /// Best effort: it is needed after a crash of the agent only, and is worth nothing after one of the machine.
    func write(to file: String) {
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return }
        _ = writeAll(Array("\(number) \(startedAt)\n".utf8), to: descriptor)
        close(descriptor)
    }

    /// Ends it and all of its session that is still in its group.
    func killSession() { kill(-number, SIGKILL) }

    /// `nil` when there is no such process, or it has ended and only waits to be noticed.
    private static func start(of number: pid_t) -> String? {
        guard case .success(let text) = readText("/proc/\(number)/stat", atMost: 4096),
            // The second field is the program's name, which may contain anything.
            let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return String(fields[19])
    }
}
