// SPDX-License-Identifier: Apache-2.0

import Glibc
import SteadyClock
import Testing
import TestSupport
import UpgradeModel

@testable import WriteGate

/// What pages hear that listen to their node.
@Suite(.timeLimit(.minutes(5)))
struct StreamTests {
    private func make(_ change: (inout GateConfiguration) -> Void = { _ in }) throws
        -> (directory: TemporaryDirectory, gate: WriteGate)
    {
        let directory = try TemporaryDirectory()
        var configuration = GateConfiguration(runtimeDirectory: directory.path + "/run")
        change(&configuration)
        return (directory, try WriteGate(configuration))
    }

    private func listen(_ directory: TemporaryDirectory) throws -> RawSocket {
        let socket = try RawSocket(directory.path + "/run/events.sock")
        socket.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        return socket
    }

    /// Reads on until a text has come.
    private func hear(_ words: String, _ socket: RawSocket, after said: String = "") throws
        -> String
    {
        var said = said
        while !said.contains(words) {
            let more = try socket.receive(untilClosed: false)
            guard !more.isEmpty else { throw TestSupportFailure("closed after: \(said)") }
            said += more
        }
        return said
    }

    @Test func whoListensIsToldWhatIsSoAndThenWhatChanges() throws {
        let (directory, gate) = try make()
        gate.tellPages(release: "7-v2.3f786850e387")
        let socket = try listen(directory)
        let first = try hear("\n\n", socket)
        #expect(first.hasPrefix("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"))
        #expect(first.contains("\r\n\r\nretry: "))
        #expect(
            first.hasSuffix(
                "\ndata: {\"message\":\"\",\"readOnly\":false,\"release\":\"7-v2.3f786850e387\","
                    + "\"retryAfterSeconds\":0,\"writes\":{\"kind\":\"open\"}}\n\n"))
        try gate.set(.refuse)
        let second = try hear("\n\n", socket)
        #expect(second.contains("\"message\":\"Back at noon.\",\"readOnly\":true"))
        #expect(second.contains("\"writes\":{\"kind\":\"refuse\"}"))
        gate.tellPages(release: "8-v3.000000000000")
        _ = try hear("\"release\":\"8-v3.000000000000\"", socket)
        try gate.set(.open)
        _ = try hear("\"readOnly\":false", socket)
    }

    @Test func whoComesInTheWindowIsToldThatItIsSo() throws {
        let (directory, gate) = try make()
        try gate.set(.hold())
        #expect(try hear("\n\n", listen(directory)).contains("\"readOnly\":true"))
    }

    @Test func whatIsSaidAgainIsNotHeardAgain() throws {
        let (directory, gate) = try make()
        let socket = try listen(directory)
        _ = try hear("\n\n", socket)
        try gate.set(.hold())
        var said = try hear("\"readOnly\":true", socket)
        try gate.set(.hold())
        gate.tellPages(release: nil)
        // Whether reads wait as well is no business of a page that is open.
        try gate.set(.holdAll)
        try gate.set(.hold())
        try gate.set(.open)
        said = try hear("\"readOnly\":false", socket, after: said)
        #expect(said.split(separator: "\"readOnly\":true").count == 2, "\(said)")
    }

    /// What lies between ends a stream on which nothing comes, and the page is told nothing for as long.
    @Test func whoListensHearsNowAndThenWhatIsSo() throws {
        let (directory, gate) = try make { $0.streamTick = .milliseconds(5) }
        let socket = try listen(directory)
        for _ in 1...4 { _ = try hear("\"readOnly\":false", socket) }
        try gate.set(.hold())
        _ = try hear("\"readOnly\":true", socket)
    }

    @Test func whoDoesNotFinishAskingForEventsIsHungUpOn() throws {
        let (directory, gate) = try make {
            $0.streamTick = .milliseconds(5)
            $0.requestTimeout = .milliseconds(100)
        }
        let socket = try RawSocket(directory.path + "/run/events.sock")
        socket.send("GET /eve")
        #expect(try socket.receive(untilClosed: true).isEmpty)
        gate.stop()
    }

    @Test func aMessageOfSeveralLinesIsOneEvent() throws {
        let (directory, gate) = try make()
        try gate.set(
            GateSetting(writes: .refuse(retryAfter: .seconds(1), message: "a\n\ndata: b")))
        let said = try hear("\n\n", listen(directory))
        #expect(said.contains("\"message\":\"a\\n\\ndata: b\""))
    }

    @Test func aWindowThatIsAnnouncedIsToldInSecondsUntilItBegins() throws {
        let (directory, gate) = try make()
        let now = SteadyClock.wall
        gate.tellPages(release: nil, begins: now + .minutes(10))
        let socket = try listen(directory)
        let said = try hear("\n\n", socket)
        let seconds = said.firstMatch(of: /"startsInSeconds":(\d+)/).flatMap { Int($0.1) }
        #expect((500...600).contains(seconds ?? 0), "\(said)")
        // The gate that has closed is the news then.
        try gate.set(.hold())
        #expect(try !hear("\n\n", socket).contains("startsInSeconds"))
        try gate.set(.open)
        _ = try hear("startsInSeconds", socket)
        gate.tellPages(release: nil)
        #expect(try !hear("\n\n", socket).contains("startsInSeconds"))
        // Nobody has closed it, and nobody has said that it will not be.
        gate.tellPages(release: nil, begins: now + Span(milliseconds: -120_000))
        #expect(try !hear("\n\n", socket).contains("startsInSeconds"))
    }

    @Test func beyondTheBoundTheNewestIsSentAwayAndTheGateAnswers() async throws {
        let (directory, gate) = try make { $0.streamsAtMost = 3 }
        var open: [RawSocket] = []
        for _ in 0..<3 {
            open.append(try listen(directory))
            _ = try hear("\n\n", open[open.count - 1])
        }
        let late = try listen(directory)
        let answer = try late.receive(untilClosed: true)
        #expect(answer.hasPrefix("HTTP/1.1 503 "))
        #expect(answer.contains("Retry-After: 60\r\n"))
        // Those who were there hear on, and one who leaves makes room.
        try gate.set(.hold())
        _ = try hear("\"readOnly\":true", open[0])
        open.removeLast()
        #expect(
            try await eventually {
                try listen(directory).receive(untilClosed: false).hasPrefix("HTTP/1.1 200 ")
            })
    }

    @Test func strangersWhoAskNothingKeepNobodyOut() async throws {
        let (directory, gate) = try make {
            $0.streamsAtMost = 3
            $0.requestTimeout = .milliseconds(300)
        }
        var idle: [RawSocket] = []
        for _ in 0..<300 { idle.append(try RawSocket(directory.path + "/run/events.sock")) }
        let question = try RawSocket(directory.path + "/run/gate.sock")
        question.send("GET /admit HTTP/1.1\r\n\r\n")
        #expect(try question.receive(untilClosed: false).hasPrefix("HTTP/1.1 204"))
        #expect(
            await eventually {
                let said = try? listen(directory).receive(untilClosed: false)
                return said?.hasPrefix("HTTP/1.1 200 ") == true
            })
        #expect(gate.observe().setting == .open)
    }

    @Test(arguments: [
        "POST /events HTTP/1.1\r\n\r\n", "GET /mode HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n",
        String(repeating: "x", count: 9000),
    ])
    func whatIsNoQuestionForEventsGetsNone(text: String) throws {
        let (directory, gate) = try make()
        let socket = try RawSocket(directory.path + "/run/events.sock")
        socket.send(text)
        let answer = try socket.receive(untilClosed: true)
        #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 404 "))
        #expect(gate.observe().setting == .open)
    }

    @Test func whoDoesNotReadIsGivenUpAndNobodyWaitsForIt() async throws {
        let (directory, gate) = try make()
        let deaf = try listen(directory)
        let socket = try listen(directory)
        var said = try hear("\n\n", socket)
        // Until the buffer of the one who does not read is full several times over.
        for turn in 1...600 {
            gate.tellPages(release: "\(turn)-v1.\(String(repeating: "0", count: 200))")
            said = try hear("\"\(turn)-v1.", socket, after: String(said.suffix(100)))
        }
        let heard = try deaf.receive(untilClosed: true)
        #expect(!heard.contains("\"600-v1."))
    }

    @Test func aNodeThatGoesOutOfServiceSendsItsStreamsAway() throws {
        let (directory, gate) = try make()
        let socket = try listen(directory)
        _ = try hear("\n\n", socket)
        try gate.setService(.out)
        #expect(try socket.receive(untilClosed: true).contains("retry: "))
        // Said again, it ends nobody's who has come since.
        let second = try listen(directory)
        _ = try hear("\n\n", second)
        try gate.setService(.out)
        try gate.set(.hold())
        _ = try hear("\"readOnly\":true", second)
    }

    @Test func aGateThatIsStoppedEndsItsStreamsAndTheirSocket() throws {
        let (directory, gate) = try make()
        let socket = try listen(directory)
        _ = try hear("\n\n", socket)
        gate.stop()
        #expect(try socket.receive(untilClosed: true).isEmpty)
        #expect(!directory.exists("run/events.sock"))
    }

    @Test func withoutABoundThereIsNoSocket() throws {
        let (directory, gate) = try make { $0.streamsAtMost = 0 }
        #expect(!directory.exists("run/events.sock"))
        try gate.set(.hold())
        gate.stop()
    }
}
