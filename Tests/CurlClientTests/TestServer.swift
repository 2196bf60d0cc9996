// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization
import TestSupport

/// A scripted HTTP/1.1 server on a free loopback port or a Unix socket: one thread a connection, raw answers.
final class TestServer: Sendable {
    struct Request: Sendable {
        var method: String
        var target: String
        /// Each line as it came.
        var headers: [String]
        var body: [UInt8]
    }

    /// Answers by writing to the connection; false closes it.
    typealias Handler = @Sendable (Request, Connection) -> Bool

    var port: UInt16 { listener.port }
    private let listener: ListeningSocket
    private let handler: Handler
    private let seen = Mutex((requests: [Request](), connections: 0))

    var requests: [Request] { seen.withLock { $0.requests } }
    var connections: Int { seen.withLock { $0.connections } }
    func url(_ path: String) -> String { "http://127.0.0.1:\(port)\(path)" }

    /// - Parameter speaksFirst: written to each connection before anything is read.
    init(unixSocket: String? = nil, speaksFirst: String = "", handler: @escaping Handler) throws {
        self.handler = handler
        listener =
            if let unixSocket { try ListeningSocket(unixSocket: unixSocket) } else {
                try ListeningSocket()
            }
        listener.start { [weak self] client, _ in
            let connection = Connection(descriptor: client)
            connection.write(speaksFirst)
            self?.serve(connection)
        }
    }

    func stop() { listener.stop() }

    deinit { listener.stop() }

    private func serve(_ connection: Connection) {
        seen.withLock { $0.connections += 1 }
        while let request = connection.readRequest() {
            seen.withLock { $0.requests.append(request) }
            if !handler(request, connection) { return }
        }
    }

    /// A port of loopback where nobody listens.
    static func unusedPort() throws -> UInt16 {
        let server = try TestServer { _, _ in false }
        server.stop()
        return server.port
    }
}

final class Connection: Sendable {
    let descriptor: Int32
    private let pending = Mutex<[UInt8]>([])

    init(descriptor: Int32) { self.descriptor = descriptor }

    @discardableResult
    func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            sent += count
        }
        return true
    }

    @discardableResult
    func respond(_ status: String = "200 OK", headers: String = "", _ body: String = "") -> Bool {
        write("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
    }

    /// Blocks until the peer has closed its side.
    func waitForEnd() {
        var byte: UInt8 = 0
        while recv(descriptor, &byte, 1, 0) > 0 {}
    }

    fileprivate func readRequest() -> TestServer.Request? {
        var data = pending.withLock { $0 }
        var chunk = [UInt8](repeating: 0, count: 65_536)
        func more() -> Bool {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count > 0 { data += chunk[..<count] }
            return count > 0
        }
        var headEnd: Int?
        while headEnd == nil {
            headEnd = data.indices.dropLast(3).first {
                Array(data[$0..<$0 + 4]) == [13, 10, 13, 10]
            }
            if headEnd == nil && !more() { return nil }
        }
        guard let end = headEnd else { return nil }
        let lines = String(decoding: data[..<end], as: UTF8.self).split(separator: "\r\n").map(
            String.init)
        let words = lines[0].split(separator: " ").map(String.init)
        let length =
            lines.first { $0.lowercased().hasPrefix("content-length:") }
            .flatMap { Int($0.split(separator: " ").last ?? "") } ?? 0
        while data.count < end + 4 + length {
            if !more() { return nil }
        }
        let rest = Array(data[(end + 4 + length)...])
        pending.withLock { $0 = rest }
        return TestServer.Request(
            method: words[0], target: words[1], headers: Array(lines.dropFirst()),
            body: Array(data[(end + 4)..<(end + 4 + length)]))
    }
}

extension TemporaryDirectory {
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = "\(path)/\(name)"
        try Data(bytes).write(to: URL(filePath: file))
        return file
    }
}
