// SPDX-License-Identifier: Apache-2.0

internal import Synchronization
internal import UpgradeModel

extension Console {
    /// Says on standard error what takes its time, while it does: on a terminal in one line that is drawn in place and taken away
    /// at the end, elsewhere a line each ten seconds. Work that takes less than two seconds says nothing.
    ///
    /// - Parameter text: what is going on, asked anew for each notice.
    func during<Value, Failure: Error>(
        _ text: @escaping @Sendable @autoclosure () -> String,
        after patience: Duration = .seconds(2),
        _ work: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let notice = WaitingNotice(console: self, text: text)
        let ticking = Task { await notice.tick(after: patience) }
        defer {
            ticking.cancel()
            notice.end()
        }
        return try await work()
    }
}

private final class WaitingNotice: Sendable {
    private struct State {
        var isOver = false
        var isDrawn = false
    }

    private let console: Console
    private let text: @Sendable () -> String
    private let state = Mutex(State())

    init(console: Console, text: @escaping @Sendable () -> String) {
        self.console = console
        self.text = text
    }

    func tick(after patience: Duration) async {
        let began = ContinuousClock.now
        var pause = patience
        while (try? await Task.sleep(for: pause)) != nil {
            let seconds = began.duration(to: .now).components.seconds
            let line = printable("sluice: \(text()), \(seconds) s")
            state.withLock { state in
                guard !state.isOver else { return }
                if console.isErrorTerminal {
                    console.writeError("\r\(fitted(line, to: console.size().columns))\u{1B}[K")
                    state.isDrawn = true
                } else {
                    console.errorLine(line)
                }
            }
            pause = console.isErrorTerminal ? .seconds(1) : .seconds(10)
        }
    }

    func end() {
        state.withLock { state in
            state.isOver = true
            if state.isDrawn { console.writeError("\r\u{1B}[K") }
        }
    }
}
