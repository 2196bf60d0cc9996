// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

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

    let port: UInt16
    private let listener: Int32
    private let handler: Handler
    private let seen = Mutex((requests: [Request](), connections: 0))

    var requests: [Request] { seen.withLock { $0.requests } }
    var connections: Int { seen.withLock { $0.connections } }
    func url(_ path: String) -> String { "http://127.0.0.1:\(port)\(path)" }

    /// - Parameter speaksFirst: written to each connection before anything is read.
    init(unixSocket: String? = nil, speaksFirst: String = "", handler: @escaping Handler) throws {
        self.handler = handler
        let descriptor: Int32
        var bound: UInt16 = 0
        if let unixSocket {
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: unixSocket.utf8) }
            let length = socklen_t(MemoryLayout<sockaddr_un>.size)
            try check(bindAny(descriptor, &address, length))
        } else {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            try check(bindAny(descriptor, &address, length))
            _ = withUnsafeMutableBytes(of: &address) {
                getsockname(
                    descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, &length)
            }
            bound = UInt16(bigEndian: address.sin_port)
        }
        listener = descriptor
        port = bound
        try check(listen(listener, 512))
        spawnThread { [weak self, listener] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                spawnThread { [weak self] in
                    let connection = Connection(descriptor: client)
                    connection.write(speaksFirst)
                    self?.serve(connection)
                    close(client)
                }
            }
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
    }

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
        close(server.listener)
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

struct SystemFailure: Error { var code: Int32 }

private func check(_ result: Int32) throws {
    if result != 0 { throw SystemFailure(code: errno) }
}

private func bindAny<Address>(_ descriptor: Int32, _ address: inout Address, _ length: socklen_t)
    -> Int32
{
    withUnsafeBytes(of: &address) {
        bind(descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, length)
    }
}

private final class Work: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

func spawnThread(_ run: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let work = Unmanaged.passRetained(Work(run))
    pthread_create(
        &thread, nil,
        { context in
            guard let context else { return nil }
            Unmanaged<Work>.fromOpaque(context).takeRetainedValue().run()
            return nil
        }, work.toOpaque())
    pthread_detach(thread)
}

/// Asks again until it is so, ten seconds at most.
func eventually(_ condition: () -> Bool) async -> Bool {
    let end = ContinuousClock.now + .seconds(60)
    while !condition() {
        if ContinuousClock.now > end { return false }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return true
}

/// A directory of the test's own, removed by `remove()`.
struct TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/sluice-curl-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw SystemFailure(code: errno) }
        path = String(cString: made)
    }

    func file(_ name: String, _ bytes: [UInt8]) -> String {
        let file = "\(path)/\(name)"
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count <= 0 { break }
            written += count
        }
        close(descriptor)
        return file
    }

    /// Files only; tests make no directories in it.
    func remove() {
        guard let directory = opendir(path) else { return }
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            unlink("\(path)/\(name)")
        }
        closedir(directory)
        rmdir(path)
    }
}
