// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestSupport

/// An application on a unix socket that records every request that reaches it and answers with its name.
public final class RecordingApplication: Sendable {
    public struct Request: Sendable {
        public var method: String
        public var target: String
        /// Names in lower case; of a repeated header the last.
        public var headers: [String: String]
        public var body: String
    }

    /// What it does with a request.
    public struct Reply: Sendable {
        public var status = 200
        public var headers: [String: String] = [:]
        public var body: String
        /// The connection is closed without an answer.
        public var hangsUp = false
        /// Waits for this to be let go before it answers.
        public var gate: Latch?

        public init(
            status: Int = 200, headers: [String: String] = [:], body: String, hangsUp: Bool = false,
            gate: Latch? = nil
        ) {
            self.status = status
            self.headers = headers
            self.body = body
            self.hangsUp = hangsUp
            self.gate = gate
        }
    }

    public let path: String
    private let listener: ListeningSocket
    private let recorded = Mutex<[(turn: Int, request: Request)]>([])
    private let reply: @Sendable (Request) -> Reply

    public init(
        at path: String, name: String = "application", reply: (@Sendable (Request) -> Reply)? = nil
    ) throws {
        self.path = path
        self.reply = reply ?? { _ in Reply(body: name) }
        listener = try ListeningSocket(unixSocket: path)
        listener.start { [weak self] connection, turn in self?.answer(connection, turn) }
    }

    /// Every request that has reached the application, in the order in which their connections were accepted.
    public var requests: [Request] {
        recorded.withLock { $0 }.sorted { $0.turn < $1.turn }.map(\.request)
    }
    public var writes: [Request] { requests.filter { $0.method == "POST" } }

    /// Stops listening; requests under way are answered.
    public func stop() { listener.stop() }

    deinit { listener.stop() }

    private func answer(_ connection: Int32, _ turn: Int) {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var request: Request?
        while request == nil {
            let count = recv(connection, &chunk, chunk.count, 0)
            guard count > 0 else { return }
            bytes += chunk[..<count]
            request = Request(bytes)
        }
        guard let request else { return }
        recorded.withLock { $0.append((turn, request)) }
        let reply = reply(request)
        reply.gate?.wait()
        if reply.hangsUp { return }
        var head = "HTTP/1.1 \(reply.status) Status\r\nConnection: close\r\n"
        head += "Content-Length: \(reply.body.utf8.count)\r\n"
        for (name, value) in reply.headers { head += "\(name): \(value)\r\n" }
        var rest = Array((head + "\r\n" + reply.body).utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

extension RecordingApplication.Request {
    /// - Returns: `nil` until the request has arrived whole.
    fileprivate init?(_ bytes: [UInt8]) {
        let separator: [UInt8] = [13, 10, 13, 10]
        guard
            let end = bytes.indices.dropLast(3).first(where: {
                bytes[$0..<($0 + 4)].elementsEqual(separator)
            })
        else { return nil }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ")
        guard words.count == 3 else { return nil }
        let length =
            lines.first(where: { $0.lowercased().hasPrefix("content-length:") })
            .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) } ?? 0
        let body = bytes[(end + 4)...]
        guard body.count >= length else { return nil }
        method = String(words[0])
        target = String(words[1])
        headers = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] =
                line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        self.body = String(decoding: body, as: UTF8.self)
    }
}

/// Keeps threads waiting until it is opened.
public final class Latch: Sendable {
    private let condition = NSCondition()
    private let isOpen = Mutex(false)

    public init() {}

    public func open() {
        condition.lock()
        isOpen.withLock { $0 = true }
        condition.broadcast()
        condition.unlock()
    }

    public func wait() {
        condition.lock()
        while !isOpen.withLock({ $0 }) { condition.wait() }
        condition.unlock()
    }
}
