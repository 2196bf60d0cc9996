// SPDX-License-Identifier: Apache-2.0

import Logging
import Synchronization
import Testing

@testable import PrintableLog

@Suite struct PrintableLogTests {
    @Test func nothingThatIsLoggedBreaksItsLineOrSpeaksToATerminal() {
        let seen = Lines()
        let logger = Logger(label: "t") { _ in PrintableLogHandler(Recorder(lines: seen)) }
        logger.error(
            "a\u{1B}[2J\n2026 critical forged\r\u{9B}x\u{202E}y", metadata: ["k": "v\nw\u{7}"])
        #expect(seen.all == ["error a�[2J 2026 critical forged �x�y k=v w�"])
    }

    @Test func theLevelIsTheLoggers() {
        var logger = Logger(label: "t") { PrintableLogHandler(label: $0) }
        logger.logLevel = .critical
        #expect(logger.handler.logLevel == .critical)
    }
}

private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func add(_ line: String) { lines.withLock { $0.append(line) } }
}

private struct Recorder: LogHandler {
    var lines: Lines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let values = (event.metadata ?? [:]).map { "\($0)=\($1)" }.joined()
        lines.add("\(event.level) \(event.message) \(values)")
    }
}
