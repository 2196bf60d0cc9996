// SPDX-License-Identifier: Apache-2.0

@preconcurrency import Dispatch
import Files
import FoundationEssentials
import Glibc

/// The agent's own socket: one line of JSON in, one line out, for whoever the permissions (0600) let in.
final class LocalSocket: Sendable {
    /// A question and the connection on which it is answered.
    struct Call: Sendable {
        var request: LocalRequest
        fileprivate var connection: LocalConnection

        func answer(_ report: LocalReport) {
            guard let bytes = try? JSONEncoder().encode(report) else { return }
            _ = connection.send(Array(bytes) + [10])
        }
    }

    let calls: AsyncStream<Call>
    private let path: String
    private let listener: LocalConnection
    private let source: any DispatchSourceRead

    init(path: String) throws(SystemFailure) {
        self.path = path
        let listener = LocalConnection(
            socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
        let temporary = path + ".new"
        unlink(temporary)
        guard listener.descriptor >= 0, listener.withAddress(temporary, { bind($0, $1, $2) }) == 0,
            chmod(temporary, 0o600) == 0, listen(listener.descriptor, 16) == 0,
            rename(temporary, path) == 0
        else { throw SystemFailure(errno: "listen on \(path)") }
        let (calls, continuation) = AsyncStream<Call>.makeStream(
            bufferingPolicy: .bufferingOldest(16))
        self.calls = calls
        self.listener = listener
        source = DispatchSource.makeReadSource(
            fileDescriptor: listener.descriptor, queue: DispatchQueue(label: "agent.local"))
        source.setEventHandler {
            let number = accept(listener.descriptor, nil, nil)
            guard number >= 0 else { return }
            _ = fcntl(number, F_SETFD, FD_CLOEXEC)
            let connection = LocalConnection(number)
            connection.limitWaiting(seconds: 2)
            guard let line = connection.readLine(atMost: 8192),
                let request = try? JSONDecoder().decode(LocalRequest.self, from: Data(line))
            else { return }
            continuation.yield(Call(request: request, connection: connection))
        }
        source.activate()
    }

    deinit { source.cancel() }

    /// Asks the agent that listens at a path.
    static func ask(_ request: LocalRequest, at path: String) throws(SystemFailure) -> LocalReport {
        let connection = LocalConnection(
            socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
        guard connection.descriptor >= 0, connection.withAddress(path, { connect($0, $1, $2) }) == 0
        else {
            throw SystemFailure(errno: "reach the agent at \(path)")
        }
        connection.limitWaiting(seconds: 10)
        guard let bytes = try? JSONEncoder().encode(request), connection.send(Array(bytes) + [10]),
            let line = connection.readLine(atMost: 4 << 20)
        else { throw SystemFailure("the agent at \(path) did not answer") }
        do {
            return try JSONDecoder().decode(LocalReport.self, from: Data(line))
        } catch {
            throw SystemFailure(
                "the agent at \(path) is of another version; use its own sluice-agent")
        }
    }
}

/// Tries whether somebody listens at a unix socket, and hangs up.
///
/// Never waits: a unix socket answers at once (unix(7)).
///
/// - Returns: `nil` when the connection was taken; otherwise what the system says.
func reasonNotToConnect(to path: String) -> String? {
    let connection = LocalConnection(
        socket(
            AF_UNIX,
            Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0))
    guard connection.descriptor >= 0, connection.withAddress(path, { connect($0, $1, $2) }) == 0
    // Whose queue is full listens.
    else { return errno == EAGAIN ? nil : String(cString: strerror(errno)) }
    return nil
}

/// A descriptor that is closed when nobody holds it any more.
final class LocalConnection: Sendable {
    enum Received { case bytes([UInt8]), nothingYet, end }

    let descriptor: Int32

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func limitWaiting(seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(
                descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    /// Never a SIGPIPE: who has gone, has gone.
    func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            // SAFETY: pointer and count are those of the bytes, which live as long as the call.
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { return false }
        }
        return true
    }

    /// What has come, on a socket that does not block.
    func receive() -> Received {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count > 0 { return .bytes(Array(chunk[..<count])) }
            if count < 0, errno == EINTR { continue }
            return count < 0 && errno == EAGAIN ? .nothingYet : .end
        }
    }

    func readLine(atMost limit: Int) -> [UInt8]? {
        var line: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while line.count <= limit {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            line += chunk[..<count]
            if let end = line.firstIndex(of: 10) { return Array(line[..<end]) }
        }
        return nil
    }

    /// - Returns: what the call says, or -1 when the path does not fit.
    func withAddress(
        _ path: String, _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        guard let address = UnixAddress(path) else {
            errno = ENAMETOOLONG
            return -1
        }
        return address.withPointer { call(descriptor, $0, $1) }
    }
}
