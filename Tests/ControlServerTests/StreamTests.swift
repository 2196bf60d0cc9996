// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import CurlClient
import FoundationEssentials
import Synchronization
import Testing
import UpgradeEngine
import UpgradeModel

@testable import ControlServer

@Suite struct StreamTests {
    @Test(arguments: [
        (0, 100), (1, 100), (11, 100), (50, 450), (100, 800), (400, 800), (1000, 2000),
    ])
    func aViewIsShownEverySecondAndTakesATenthOfACoreAtMost(_ cost: Int, _ pause: Int) {
        #expect(EventStream.pause(after: .milliseconds(cost)) == .milliseconds(pause))
    }

    @Test
    func tellsEveryEventOnceInOrderAndEndsWithTheRun() async throws {
        try await RunningServer.run { server in
            server.control.add(.paused(stamp("one")))
            server.control.add(.resumed(stamp("two")))
            async let text = receive(server, Path.stream(someRun)) { soFar in
                // Two more, once the first two were heard.
                if soFar.contains("id: 2\n"),
                    server.control.state.withLock({ $0.entries.count }) == 2
                {
                    server.control.add(.paused(stamp("three")))
                    server.control.add(.resumed(stamp("four")), ending: true)
                }
            }
            let events = parse(try await text)
            let facts = events.filter { $0.name == "fact" }
            #expect(facts.map(\.identifier) == ["1", "2", "3", "4"])
            let entry = try JSONDecoder().decode(JournalEntry.self, from: Data(facts[2].data.utf8))
            #expect(entry.event == .paused(stamp("three")))
            let last = try #require(events.last { $0.name == "view" })
            let view = try JSONDecoder().decode(RunView.self, from: Data(last.data.utf8))
            #expect(view.summary.state == .done)
            #expect(view.version == 4)
        }
    }

    @Test
    func tellsEventsAtOnceAlthoughAViewIsNotDue() async throws {
        try await RunningServer.run { server in
            // Each view takes half a second, so the next one is due a second later.
            server.control.state.withLock { $0.viewCost = .milliseconds(500) }
            server.control.add(.paused(stamp("one")))
            let text = try await receive(server, Path.stream(someRun)) { soFar in
                let count = server.control.state.withLock { $0.entries.count }
                if count < 4, soFar.contains("id: \(count)\n"), soFar.contains("event: view") {
                    server.control.add(.resumed(stamp("more")), ending: count == 3)
                }
            }
            let names = parse(text).map(\.name)
            #expect(names.filter { $0 == "fact" }.count == 4)
            // Without facts of their own there would be a view behind each.
            #expect(names.prefix(5) == ["fact", "view", "fact", "fact", "fact"])
        }
    }

    @Test
    func goesOnAfterTheEventThatTheClientHas() async throws {
        try await RunningServer.run { server in
            for word in ["one", "two", "three"] { server.control.add(.paused(stamp(word))) }
            server.control.add(.resumed(stamp("four")), ending: true)
            let byQuery = parse(try await receive(server, "\(Path.stream(someRun))?after=3"))
            #expect(byQuery.filter { $0.name == "fact" }.map(\.identifier) == ["4"])
            let byHeader = parse(
                try await receive(
                    server, Path.stream(someRun), headers: [HTTPHeader("Last-Event-ID", "2")]))
            #expect(byHeader.filter { $0.name == "fact" }.map(\.identifier) == ["3", "4"])
        }
    }

    @Test
    func endsWhenTheCoordinatorEnds() async throws {
        try await RunningServer.run { server in
            let text = try await receive(server, Path.stream(someRun)) { soFar in
                if soFar.contains("event: view") { server.control.finishStreams() }
            }
            #expect(text.contains("event: view"))
        }
    }

    @Test
    func keepsATextWithLineEndsInOneLineOfData() async throws {
        try await RunningServer.run { server in
            server.control.add(.paused(stamp("a\nb\r\nevent: view\n\n")), ending: true)
            let events = parse(try await receive(server, Path.stream(someRun)))
            #expect(events.map(\.name) == ["fact", "view"])
        }
    }

    private func stamp(_ word: String) -> RequestStamp {
        RequestStamp(request: word, by: OperatorName(unchecked: "ada"), reason: word)
    }

    private func receive(
        _ server: RunningServer, _ path: String, headers: [HTTPHeader] = [],
        onText: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> String {
        let received = Received()
        let head = try await server.client.stream(
            HTTPRequest(
                .get, server.origin + path, headers: headers,
                bearerToken: server.token(of: .person),
                timeouts: HTTPTimeouts(total: .seconds(20)))
        ) { bytes in
            onText(received.add(bytes))
            return true
        }
        #expect(head.first("Content-Type") == "text/event-stream")
        return received.text.withLock { $0 }
    }

    private final class Received: Sendable {
        let text = Mutex("")

        func add(_ bytes: UnsafeRawBufferPointer) -> String {
            text.withLock { text in
                text += String(decoding: bytes, as: UTF8.self)
                return text
            }
        }
    }

    private struct Event {
        var name = ""
        var identifier = ""
        var data = ""
    }

    private func parse(_ text: String) -> [Event] {
        var events: [Event] = []
        var event = Event()
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty {
                if !event.name.isEmpty { events.append(event) }
                event = Event()
            } else if line.hasPrefix("event: ") {
                event.name = String(line.dropFirst(7))
            } else if line.hasPrefix("id: ") {
                event.identifier = String(line.dropFirst(4))
            } else if line.hasPrefix("data: ") {
                event.data += line.dropFirst(6)
            }
        }
        return events
    }
}
