// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

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

    let port: UInt16
    private let listener: Int32
    private let connections = Connections()

    private final class Connections: Sendable {
        let isStopped = Mutex(false)
        let open = Mutex<Set<Int32>>([])
    }

    init(unixSocket: String? = nil, port wanted: UInt16 = 0, _ handler: @escaping Handler) throws {
        var number: UInt16 = 0
        let descriptor: Int32
        if let unixSocket {
            unlink(unixSocket)
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: unixSocket.utf8) }
            try check(bindTo(descriptor, &address) == 0, "bind \(unixSocket)")
        } else {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var yes: Int32 = 1
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = wanted.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            try check(bindTo(descriptor, &address) == 0, "bind a loopback port")
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            _ = withUnsafeMutableBytes(of: &address) {
                getsockname(
                    descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, &length)
            }
            number = UInt16(bigEndian: address.sin_port)
        }
        listener = descriptor
        port = number
        try check(listen(descriptor, 128) == 0, "listen")
        onThread { [connections, listener] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
                if connections.isStopped.withLock({ $0 }) {
                    close(connection)
                    return
                }
                var yes: Int32 = 1
                setsockopt(connection, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, 4)
                connections.open.withLock { _ = $0.insert(connection) }
                onThread {
                    serve(connection, handler)
                    // Closed with the entry gone, so that `stop` never shuts down a number that is somebody else's.
                    connections.open.withLock { _ = $0.remove(connection) }
                    close(connection)
                }
            }
        }
    }

    deinit { stop() }

    /// Ends the listener and every connection.
    func stop() {
        let isFirst = connections.isStopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard isFirst else { return }
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
        connections.open.withLock {
            for connection in $0 { shutdown(connection, Int32(SHUT_RDWR)) }
        }
    }
}

struct TestFailure: Error, CustomStringConvertible {
    var description: String
}

func check(_ condition: Bool, _ what: String) throws {
    guard condition else {
        throw TestFailure(description: "\(what): \(String(cString: strerror(errno)))")
    }
}

private func bindTo<Address>(_ descriptor: Int32, _ address: inout Address) -> Int32 {
    withUnsafeBytes(of: &address) {
        guard let start = $0.assumingMemoryBound(to: sockaddr.self).baseAddress else { return -1 }
        return bind(descriptor, start, socklen_t(MemoryLayout<Address>.size))
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

private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func onThread(_ body: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    // SAFETY: the retain is given to the thread, which releases it.
    let raw = Unmanaged.passRetained(Body(body)).toOpaque()
    let failed = pthread_create(
        &thread, nil,
        { raw in
            if let raw { Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
            return nil
        }, raw)
    if failed == 0 { pthread_detach(thread) } else { Unmanaged<Body>.fromOpaque(raw).release() }
}
