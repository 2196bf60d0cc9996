// SPDX-License-Identifier: Apache-2.0

/// One event of a stream of server-sent events.
struct ServerSentEvent: Hashable, Sendable {
    /// `message` when the stream gives none.
    var name: String
    var data: String
    /// The last identifier of the stream so far.
    var identifier: String?
}

/// Reads a stream of server-sent events as its bytes arrive.
///
/// Source of the rules: the HTML standard, section "Server-sent events". Lines end with LF, CRLF or CR; an event ends with an
/// empty line; a line without a colon is a field without a value; comments are dropped. `retry` has no meaning here.
struct ServerSentEventParser: Sendable {
    /// An event has more bytes than allowed: whoever sends it is no coordinator.
    struct Overflow: Error, Hashable, Sendable {
        let limit: Int
    }

    /// Bytes of one event at most.
    let limit: Int
    private var line: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var name = ""
    private var identifier: String?
    private var endsWithCarriageReturn = false
    private var isFirstLine = true

    init(limit: Int = 128 << 20) { self.limit = limit }

    /// Reads bytes and returns the events that they complete.
    mutating func parse(_ bytes: some Sequence<UInt8>) throws(Overflow) -> [ServerSentEvent] {
        var events: [ServerSentEvent] = []
        for byte in bytes {
            if byte == 10 && endsWithCarriageReturn {
                endsWithCarriageReturn = false
                continue
            }
            endsWithCarriageReturn = byte == 13
            if byte == 10 || byte == 13 {
                if let event = endLine() { events.append(event) }
            } else {
                guard line.count + data.count < limit else { throw Overflow(limit: limit) }
                line.append(byte)
            }
        }
        return events
    }

    private mutating func endLine() -> ServerSentEvent? {
        var field = line[...]
        line.removeAll(keepingCapacity: true)
        if isFirstLine {
            isFirstLine = false
            if field.starts(with: [0xEF, 0xBB, 0xBF]) { field = field.dropFirst(3) }
        }
        if field.isEmpty { return dispatch() }
        let colon = field.firstIndex(of: 58) ?? field.endIndex
        var value = field[colon...].dropFirst()
        if value.first == 32 { value = value.dropFirst() }
        switch String(decoding: field[..<colon], as: UTF8.self) {
        case "data":
            if hasData { data.append(10) }
            data += value
            hasData = true
        case "event": name = String(decoding: value, as: UTF8.self)
        case "id" where !value.contains(0): identifier = String(decoding: value, as: UTF8.self)
        default: break
        }
        return nil
    }

    private mutating func dispatch() -> ServerSentEvent? {
        defer {
            data.removeAll()
            hasData = false
            name = ""
        }
        guard hasData else { return nil }
        return ServerSentEvent(
            name: name.isEmpty ? "message" : name, data: String(decoding: data, as: UTF8.self),
            identifier: identifier)
    }
}
