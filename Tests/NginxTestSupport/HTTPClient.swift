// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestSupport

/// A client of one request a connection, over plain sockets; each request blocks a thread of its own.
public struct HTTPClient: Sendable {
    public var address: String
    public var port: UInt16
    public var timeout: Duration

    public init(address: String, port: UInt16, timeout: Duration = .seconds(60)) {
        self.address = address
        self.port = port
        self.timeout = timeout
    }

    public struct Response: Sendable {
        public var status: Int
        /// Names in lower case; of a repeated header the last.
        public var headers: [String: String]
        public var body: String
    }

    public func get(_ target: String, headers: [String: String] = [:]) async throws -> Response {
        try await send("GET", target, headers: headers)
    }

    public func post(_ target: String, _ body: String = "x") async throws -> Response {
        try await send("POST", target, body: body)
    }

    public func send(
        _ method: String, _ target: String, headers: [String: String] = [:], body: String = ""
    ) async throws -> Response {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        let started = try start(method, target, headers: headers, body: body)
                        return try started.response(within: timeout)
                    })
            }
        }
    }

    /// Sends a request and leaves the connection to the caller, who may read the answer or hang up.
    public func start(
        _ method: String, _ target: String, headers: [String: String] = [:], body: String = ""
    ) throws -> StartedRequest {
        let descriptor = try connectTCP(address, port)
        let request = StartedRequest(descriptor)
        let host = headers["Host"] ?? "test.example"
        var head = "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n"
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) where name != "Host" {
            head += "\(name): \(value)\r\n"
        }
        if !body.isEmpty || (method == "POST" && headers["Content-Length"] == nil) {
            head += "Content-Length: \(body.utf8.count)\r\n"
        }
        try request.write(Array((head + "\r\n" + body).utf8), isBodyOptional: true)
        return request
    }
}

/// A request under way.
public final class StartedRequest: Sendable {
    private let descriptor: Mutex<Int32?>

    fileprivate init(_ descriptor: Int32) { self.descriptor = Mutex(descriptor) }

    deinit { hangUp() }

    /// Closes the connection without waiting for the answer.
    public func hangUp() {
        descriptor.withLock { number in
            if let number { close(number) }
            number = nil
        }
    }

    /// - Parameter isBodyOptional: a server may refuse and close before it has taken all.
    fileprivate func write(_ bytes: [UInt8], isBodyOptional: Bool) throws {
        guard let number = descriptor.withLock({ $0 }) else { throw TestSupportFailure("hung up") }
        // What a socket does not take in this time, a server that holds the request does not read.
        setTimeout(number, SO_SNDTIMEO, .milliseconds(500))
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                unsent.withLock { $0 = Array(rest) }
                if isBodyOptional { return }
                throw TestSupportFailure("send: \(String(cString: strerror(errno)))")
            }
        }
        unsent.withLock { $0 = [] }
    }

    private let unsent = Mutex<[UInt8]>([])

    /// Waits for the answer. Blocks: call it on a thread of your own.
    public func response(within limit: Duration = .seconds(60)) throws -> HTTPClient.Response {
        let left = unsent.withLock { $0 }
        if !left.isEmpty { try writeSlowly(left, within: limit) }
        guard let number = descriptor.withLock({ $0 }) else { throw TestSupportFailure("hung up") }
        setTimeout(number, SO_RCVTIMEO, limit)
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(number, &chunk, chunk.count, 0)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                if !received.isEmpty, errno == ECONNRESET { break }
                throw TestSupportFailure("receive: \(String(cString: strerror(errno)))")
            }
            received += chunk[..<count]
        }
        hangUp()
        return try HTTPClient.Response(received)
    }

    /// Reads on until some words have come, of an answer that goes on. Blocks.
    public func receive(until words: String, within limit: Duration = .seconds(60)) throws -> String
    {
        guard let number = descriptor.withLock({ $0 }) else { throw TestSupportFailure("hung up") }
        setTimeout(number, SO_RCVTIMEO, limit)
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let text = String(decoding: received, as: UTF8.self)
            if text.contains(words) { return text }
            let count = recv(number, &chunk, chunk.count, 0)
            guard count > 0 else {
                throw TestSupportFailure("no \(words) in \(text)")
            }
            received += chunk[..<count]
        }
    }

    private func writeSlowly(_ bytes: [UInt8], within limit: Duration) throws {
        let deadline = ContinuousClock.now + limit
        var rest = bytes
        while !rest.isEmpty, ContinuousClock.now < deadline {
            try write(rest, isBodyOptional: true)
            rest = unsent.withLock { $0 }
            if errno == EPIPE || errno == ECONNRESET { return }
        }
    }
}

extension HTTPClient.Response {
    init(_ bytes: [UInt8]) throws {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else {
            throw TestSupportFailure("no answer: \(bytes.count) bytes \(text.prefix(200))")
        }
        let lines = text[..<end.lowerBound].components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ")
        guard words.count >= 2, let status = Int(words[1]) else {
            throw TestSupportFailure("not HTTP: \(lines[0])")
        }
        self.status = status
        headers = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] =
                line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        let rest = String(text[end.upperBound...])
        body = headers["transfer-encoding"] == "chunked" ? Self.joined(rest) : rest
    }

    private static func joined(_ chunked: String) -> String {
        var rest = chunked.utf8[...]
        var body: [UInt8] = []
        while let end = rest.firstIndex(of: 13),
            let count = Int(String(decoding: rest[..<end], as: UTF8.self), radix: 16), count > 0
        {
            let start = rest.index(end, offsetBy: 2)
            let stop = rest.index(start, offsetBy: count, limitedBy: rest.endIndex) ?? rest.endIndex
            body += rest[start..<stop]
            rest =
                rest[(rest.index(stop, offsetBy: 2, limitedBy: rest.endIndex) ?? rest.endIndex)...]
        }
        return String(decoding: body, as: UTF8.self)
    }
}

func connectTCP(_ address: String, _ port: UInt16) throws -> Int32 {
    var target = sockaddr_in()
    target.sin_family = sa_family_t(AF_INET)
    target.sin_port = port.bigEndian
    guard inet_pton(AF_INET, address, &target.sin_addr) == 1 else {
        throw TestSupportFailure("bad address")
    }
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw TestSupportFailure("socket: \(errno)") }
    let result = withUnsafePointer(to: &target) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    guard result == 0 else {
        let error = errno
        close(descriptor)
        throw TestSupportFailure("connect \(address):\(port): \(String(cString: strerror(error)))")
    }
    return descriptor
}

private func setTimeout(_ descriptor: Int32, _ option: Int32, _ limit: Duration) {
    let (seconds, attoseconds) = limit.components
    var value = timeval(tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
    setsockopt(descriptor, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<timeval>.size))
}
