// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import FoundationEssentials

/// Where a command's output goes, and what is known of it: the only place that knows a terminal.
struct Console: Sendable {
    /// Standard output. What a command is asked for goes here.
    var write: @Sendable (String) -> Void
    /// Standard error. What goes wrong, and what is said beside the answer, goes here.
    var writeError: @Sendable (String) -> Void
    /// Whether a person sees standard output as it comes.
    var isTerminal: Bool
    /// Whether a person sees standard error as it comes.
    var isErrorTerminal = false
    /// Whether a person can answer a question.
    var isInteractive: Bool
    var inColour: Bool
    /// Columns and lines, now: a window can be made larger.
    var size: @Sendable () -> (columns: Int, rows: Int)
    /// One line from standard input; `nil` at its end.
    var readLine: @Sendable () -> String?
}

extension Console {
    /// The process's own.
    ///
    /// Colours go to terminals only, and nowhere when `NO_COLOR` is set to anything (see no-color.org) or `TERM` is `dumb`.
    static func standard(
        _ environment: [String: String] = ProcessInfo.processInfo.environment
    ) -> Console {
        // A reader that went away is no reason to die in the middle of a request.
        signal(SIGPIPE, SIG_IGN)
        let isTerminal = isatty(STDOUT_FILENO) == 1
        let isDumb = environment["TERM"] == "dumb"
        let isColourless = isDumb || !(environment["NO_COLOR"] ?? "").isEmpty
        return Console(
            write: { emit($0, to: STDOUT_FILENO) },
            writeError: { emit($0, to: STDERR_FILENO) },
            isTerminal: isTerminal && !isDumb,
            isErrorTerminal: isatty(STDERR_FILENO) == 1 && !isDumb,
            isInteractive: isTerminal && isatty(STDIN_FILENO) == 1,
            inColour: isTerminal && !isColourless,
            size: { Console.size(environment) },
            readLine: { Swift.readLine() })
    }

    func line(_ text: String) { write(text + "\n") }
    func errorLine(_ text: String) { writeError(text + "\n") }

    func lines(_ lines: [StyledLine]) {
        write(lines.map { $0.text(inColour: inColour) + "\n" }.joined())
    }

    /// How wide tables may be: the terminal's width, or 120 columns in a pipe.
    var width: Int { isTerminal ? size().columns : 120 }

    private static func size(_ environment: [String: String]) -> (columns: Int, rows: Int) {
        var size = winsize()
        if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 {
            return (max(20, Int(size.ws_col)), max(8, Int(size.ws_row)))
        }
        let columns = environment["COLUMNS"].flatMap { Int($0) } ?? 80
        return (min(max(20, columns), 1000), 24)
    }
}

private func emit(_ text: String, to descriptor: Int32) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        // SAFETY: the buffer is only read, during the call and within its count.
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count > 0 {
            rest = rest.dropFirst(count)
        } else if errno == EPIPE {
            // Nobody reads any more, as with `| head`; what a run does is not affected.
            _exit(141)
        } else if errno != EINTR && errno != EAGAIN {
            return
        }
    }
}
