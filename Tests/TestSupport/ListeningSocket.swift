// SPDX-License-Identifier: Apache-2.0

import CEpoll
import Foundation
import Synchronization

/// Where a server of a test listens: one thread that accepts, and one for each connection, which may block.
///
/// A descriptor is closed by whoever used it last, and never under a thread that still has its number: all tests are one
/// process, where the next file or socket that anybody opens gets that number. No child inherits any.
public final class ListeningSocket: Sendable {
    /// The port on 127.0.0.1; 0 for a unix socket.
    public let port: UInt16
    private let descriptor: Int32
    private let connections = Mutex<(isStopped: Bool, open: Set<Int32>)>((false, []))

    /// - Parameters:
    ///   - port: 0 takes a free one.
    ///   - backlog: how many connections wait to be accepted.
    public init(port: UInt16 = 0, backlog: Int32 = 4096) throws {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = port.bigEndian
        let descriptor = try listening(AF_INET, &address, "127.0.0.1:\(port)", backlog)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutableBytes(of: &address) {
            getsockname(descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, &length)
        }
        self.descriptor = descriptor
        self.port = UInt16(bigEndian: address.sin_port)
    }

    /// Takes the place of whatever is at the path.
    public init(unixSocket path: String, backlog: Int32 = 4096) throws {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw TestSupportFailure("\(path) is too long")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        unlink(path)
        descriptor = try listening(AF_UNIX, &address, path, backlog)
        chmod(path, 0o666)
        port = 0
    }

    deinit { close(descriptor) }

    /// Accepts until it is stopped. The connection is closed when the closure returns.
    ///
    /// - Parameter serve: called with a connection and its number in the order of arrival, from 1, on a thread of its own. It
    ///   must not hold the server that stops this socket when it goes away.
    public func start(_ serve: @escaping @Sendable (_ connection: Int32, _ turn: Int) -> Void) {
        Thread.detachNewThread { [self] in
            for turn in 1... {
                guard let connection = next() else { return }
                let thread = Thread { [self] in
                    serve(connection, turn)
                    connections.withLock { connections in
                        connections.open.remove(connection)
                        close(connection)
                    }
                }
                thread.stackSize = 512 * 1024
                thread.start()
            }
        }
    }

    /// - Returns: `nil` when it has been stopped.
    private func next() -> Int32? {
        while true {
            let connection = sluice_accept(descriptor)
            if connection < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                return nil
            }
            _ = fcntl(connection, F_SETFL, 0)
            var yes: Int32 = 1
            setsockopt(connection, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, 4)
            let isLate = connections.withLock { connections in
                if !connections.isStopped { connections.open.insert(connection) }
                return connections.isStopped
            }
            if !isLate { return connection }
            close(connection)
        }
    }

    /// Refuses new connections from here on; those that are open go on.
    public func stop() {
        connections.withLock { $0.isStopped = true }
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Refuses new connections, and ends those that are open.
    public func end() {
        stop()
        connections.withLock {
            for connection in $0.open { shutdown(connection, Int32(SHUT_RDWR)) }
        }
    }
}

private func listening<Address>(
    _ family: Int32, _ address: inout Address, _ name: String, _ backlog: Int32
) throws -> Int32 {
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
    let isBound = withUnsafeBytes(of: &address) {
        bind(
            descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress,
            socklen_t(MemoryLayout<Address>.size)) == 0
    }
    guard isBound, listen(descriptor, backlog) == 0 else {
        let failure = TestSupportFailure(errno: "listen on \(name)")
        close(descriptor)
        throw failure
    }
    return descriptor
}
