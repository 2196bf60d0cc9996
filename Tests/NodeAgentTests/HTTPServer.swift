// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import TestSupport

/// A small HTTP/1.1 server for tests, on a free loopback port or a unix socket: one thread a connection.
final class HTTPServer: Sendable {
    struct Request: Sendable {
        var method: String
        var target: String
        /// Lower-case names.
        var headers: [String: String]
        var body: [UInt8]

        var path: String { String(target.prefix { $0 != "?" }) }

        func query(_ name: String) -> String? {
            target.split(separator: "?").dropFirst().first?.split(separator: "&")
                .map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
                .first { $0.first == name }?.last
        }
    }

    struct Answer: Sendable {
        var status: Int
        var headers: [(String, String)] = []
        var body: [UInt8] = []
    }

    /// Called on the connection's thread, where it may block. `nil` closes the connection without an answer.
    typealias Handler = @Sendable (Request) -> Answer?

    var port: UInt16 { listener.port }
    private let listener: ListeningSocket

    init(unixSocket: String? = nil, port: UInt16 = 0, _ handler: @escaping Handler) throws {
        listener =
            if let unixSocket { try ListeningSocket(unixSocket: unixSocket) } else {
                try ListeningSocket(port: port)
            }
        listener.start { connection, _ in serve(connection, handler) }
    }

    deinit { stop() }

    /// Ends the listener and every connection.
    func stop() { listener.end() }
}

struct TestFailure: Error, CustomStringConvertible {
    var description: String
}

func check(_ condition: Bool, _ what: String) throws {
    guard condition else {
        throw TestFailure(description: "\(what): \(String(cString: strerror(errno)))")
    }
}

private func serve(_ connection: Int32, _ handler: HTTPServer.Handler) {
    var buffer: [UInt8] = []
    while let request = receive(connection, &buffer) {
        guard let answer = handler(request) else { return }
        var head = "HTTP/1.1 \(answer.status) x\r\nContent-Length: \(answer.body.count)\r\n"
        for (name, value) in answer.headers { head += "\(name): \(value)\r\n" }
        var rest = (Array((head + "\r\n").utf8) + answer.body)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

private func receive(_ connection: Int32, _ buffer: inout [UInt8]) -> HTTPServer.Request? {
    func more() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(connection, &chunk, chunk.count, 0)
        guard count > 0 else { return false }
        buffer += chunk[..<count]
        return true
    }
    let end: [UInt8] = [13, 10, 13, 10]
    var headEnd = buffer.firstRange(of: end)
    while headEnd == nil {
        guard more() else { return nil }
        headEnd = buffer.firstRange(of: end)
    }
    guard let headEnd else { return nil }
    let lines = String(decoding: buffer[..<headEnd.lowerBound], as: UTF8.self).split(
        separator: "\r\n")
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
        guard let colon = line.firstIndex(of: ":") else { continue }
        headers[line[..<colon].lowercased()] = String(
            line[line.index(after: colon)...].drop { $0 == " " })
    }
    let length = headers["content-length"].flatMap { Int($0) } ?? 0
    buffer.removeSubrange(..<headEnd.upperBound)
    while buffer.count < length { guard more() else { return nil } }
    let body = Array(buffer[..<length])
    buffer.removeSubrange(..<length)
    let words = lines.first?.split(separator: " ").map(String.init) ?? []
    guard words.count >= 2 else { return nil }
    return HTTPServer.Request(method: words[0], target: words[1], headers: headers, body: body)
}
