// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Operator

@Suite
struct ServerSentEventTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var what: String
        var stream: String
        var events: [ServerSentEvent]
        var testDescription: String { what }
    }

    private static func event(_ name: String, _ data: String, _ identifier: String? = nil)
        -> ServerSentEvent
    {
        ServerSentEvent(name: name, data: data, identifier: identifier)
    }

    static let cases = [
        Case(
            what: "an event", stream: "event: fact\nid: 3\ndata: {}\n\n",
            events: [event("fact", "{}", "3")]),
        Case(what: "no name", stream: "data: x\n\n", events: [event("message", "x")]),
        Case(what: "CRLF", stream: "event: a\r\ndata: x\r\n\r\n", events: [event("a", "x")]),
        Case(what: "CR alone", stream: "event: a\rdata: x\r\r", events: [event("a", "x")]),
        Case(
            what: "several data lines", stream: "data: a\ndata:\ndata: b\n\n",
            events: [event("message", "a\n\nb")]),
        Case(
            what: "one space only is left out", stream: "data:  a\n\n",
            events: [event("message", " a")]),
        Case(what: "no space", stream: "data:a:b\n\n", events: [event("message", "a:b")]),
        Case(what: "a comment", stream: ": ping\n\n:\n\n", events: []),
        Case(
            what: "a name without data", stream: "event: a\n\ndata: x\n\n",
            events: [event("message", "x")]),
        Case(
            what: "the identifier stays", stream: "id: 7\ndata: a\n\ndata: b\n\n",
            events: [event("message", "a", "7"), event("message", "b", "7")]),
        Case(
            what: "an identifier with a zero byte", stream: "id: 1\u{0}2\ndata: a\n\n",
            events: [event("message", "a")]),
        Case(
            what: "a byte order mark", stream: "\u{FEFF}data: a\n\n",
            events: [event("message", "a")]),
        Case(
            what: "unknown fields", stream: "retry: 10\nwhat: x\ndata: a\n\n",
            events: [event("message", "a")]),
        Case(what: "an unfinished event", stream: "data: a\n", events: []),
    ]

    @Test(arguments: cases)
    func aStreamIsReadWhole(example: Case) throws {
        var parser = ServerSentEventParser()
        #expect(try parser.parse(example.stream.utf8) == example.events)
    }

    @Test(arguments: cases)
    func aStreamIsReadTheSameByteByByte(example: Case) throws {
        var parser = ServerSentEventParser()
        var events: [ServerSentEvent] = []
        for byte in example.stream.utf8 { events += try parser.parse([byte]) }
        #expect(events == example.events)
    }

    @Test func anEventThatIsTooLargeIsRefused() {
        var line = ServerSentEventParser(limit: 10)
        #expect(throws: ServerSentEventParser.Overflow(limit: 10)) {
            try line.parse("data: 12345".utf8)
        }
        var lines = ServerSentEventParser(limit: 10)
        #expect(throws: ServerSentEventParser.Overflow(limit: 10)) {
            for _ in 0..<10 { _ = try lines.parse("data:1\n".utf8) }
        }
    }

    @Test func anySizeIsFineAcrossEvents() throws {
        var parser = ServerSentEventParser(limit: 10)
        for _ in 0..<100 { #expect(try parser.parse("data: 1\n\n".utf8).count == 1) }
    }
}
