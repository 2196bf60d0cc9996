// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization
import TestSupport

/// A scripted coordinator on a free loopback port: one thread a connection, one request a connection.
final class FakeCoordinator: Sendable {
    struct Request: Sendable {
        var method: String
        var path: String
        var headers: [String: String]
        var body: [UInt8]
    }

    /// The rest of a connection, for a stream.
    struct Peer: Sendable {
        fileprivate let descriptor: Int32

        @discardableResult
        func write(_ text: String) -> Bool {
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes {
                    send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if count <= 0 { return false }
                rest = rest.dropFirst(count)
            }
            return true
        }

        func event(_ name: String, _ value: some Encodable, identifier: Int64? = nil) {
            guard let data = try? JSONEncoder().encode(value) else { return }
            let id = identifier.map { "id: \($0)\n" } ?? ""
            write("event: \(name)\n\(id)data: \(String(decoding: data, as: UTF8.self))\n\n")
        }

        /// Blocks until the other side has gone.
        func waitForEnd() {
            var byte: UInt8 = 0
            while recv(descriptor, &byte, 1, 0) > 0 {}
        }
    }

    enum Answer: Sendable {
        case text(Int, String)
        /// Writes a stream of server-sent events; its end closes the connection.
        case stream(@Sendable (Peer) -> Void)

        static func json(_ value: some Encodable) -> Answer { json(200, value) }

        static func json(_ status: Int, _ value: some Encodable) -> Answer {
            .text(
                status,
                (try? JSONEncoder().encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            )
        }
    }

    typealias Handler = @Sendable (Request) -> Answer

    var port: UInt16 { listener.port }
    private let listener: ListeningSocket
    private let handler: Handler
    private let seen = Mutex<[Request]>([])

    var url: String { "http://127.0.0.1:\(port)" }
    var requests: [Request] { seen.withLock { $0 } }

    func count(_ method: String, _ path: String) -> Int {
        requests.count { $0.method == method && $0.path == path }
    }

    init(handler: @escaping Handler) throws {
        self.handler = handler
        listener = try ListeningSocket()
        listener.start { [weak self] connection, _ in self?.serve(connection) }
    }

    func stop() { listener.stop() }

    deinit { listener.stop() }

    private func serve(_ descriptor: Int32) {
        guard let request = FakeCoordinator.read(descriptor) else { return }
        seen.withLock { $0.append(request) }
        let peer = Peer(descriptor: descriptor)
        switch handler(request) {
        case .text(let status, let body):
            let shown = request.method == "HEAD" ? "" : body
            peer.write(
                "HTTP/1.1 \(status) x\r\nContent-Length: \(shown.utf8.count)\r\nConnection: close\r\n\r\n\(shown)"
            )
        case .stream(let write):
            peer.write(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            write(peer)
        }
    }

    private static func read(_ descriptor: Int32) -> Request? {
        var data: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        func more() -> Bool {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count > 0 { data += chunk[..<count] }
            return count > 0
        }
        var end: Int?
        while end == nil {
            end = data.indices.dropLast(3).first { Array(data[$0..<$0 + 4]) == [13, 10, 13, 10] }
            if end == nil && !more() { return nil }
        }
        guard let end else { return nil }
        let lines = String(decoding: data[..<end], as: UTF8.self).split(separator: "\r\n").map(
            String.init)
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1).map(String.init)
            if parts.count == 2 {
                headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
            }
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        while data.count < end + 4 + length { if !more() { return nil } }
        let words = lines[0].split(separator: " ").map(String.init)
        return Request(
            method: words[0], path: words[1], headers: headers,
            body: Array(data[(end + 4)..<(end + 4 + length)]))
    }
}
