// SPDX-License-Identifier: Apache-2.0

import CEpoll
import Files
import Glibc
import UpgradeModel

/// A descriptor that is closed when nobody holds it any more.
final class Descriptor: Sendable {
    let number: Int32
    init(_ number: Int32) { self.number = number }
    deinit { close(number) }
}

enum Sockets {
    /// Listens on a unix socket that takes the place of whatever is at the path, without a moment in which nothing is.
    static func listen(at path: String, mode: UInt32, group: UInt32?) throws(GateError)
        -> Descriptor
    {
        let descriptor = try unixSocket(SOCK_STREAM, at: path, mode: mode, group: group)
        // A unix socket whose backlog is full refuses at once; the kernel cuts this to net.core.somaxconn.
        guard Glibc.listen(descriptor.number, 8192) == 0 else { throw failed("listen on \(path)") }
        try moveIntoPlace(path)
        return descriptor
    }

    /// How many datagrams wait for a unix socket made from now on; a sender that finds more loses its own.
    ///
    /// - Parameter wanted: set when the length is less and the process may: 512 is what systemd sets at boot, 10 the kernel's
    ///   own default.
    /// - Returns: the length now, or `nil` when the kernel does not say.
    static func datagramQueue(lengthenedTo wanted: Int?) -> Int? {
        let path = "/proc/sys/net/unix/max_dgram_qlen"
        guard let length = number(in: path) else { return nil }
        guard let wanted, length < wanted else { return length }
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return length }
        let text = Array("\(wanted)\n".utf8)
        write(descriptor, text, text.count)
        close(descriptor)
        return number(in: path)
    }

    private static func number(in path: String) -> Int? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = read(descriptor, &bytes, bytes.count)
        let digits = bytes.prefix(max(0, count)).prefix(while: { (48...57).contains($0) })
        return Int(String(decoding: digits, as: UTF8.self))
    }

    /// Receives datagrams on a unix socket.
    static func datagrams(at path: String, mode: UInt32, group: UInt32?) throws(GateError)
        -> Descriptor
    {
        let descriptor = try unixSocket(SOCK_DGRAM, at: path, mode: mode, group: group)
        guard sluice_ask_for_senders(descriptor.number) == 0 else {
            throw failed("ask who sends to \(path)")
        }
        try moveIntoPlace(path)
        return descriptor
    }

    static func listen(on loopback: GateConfiguration.Loopback) throws(GateError) -> Descriptor {
        let number = socket(AF_INET, plainType(SOCK_STREAM), 0)
        guard number >= 0 else { throw failed("make a TCP socket") }
        let descriptor = Descriptor(number)
        var yes: Int32 = 1
        setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = loopback.port.bigEndian
        address.sin_addr.s_addr = loopback.address.bigEndian
        // SAFETY: the pointer to the address lives as long as the call, and the length is that of the structure.
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0, Glibc.listen(number, 1024) == 0 else {
            throw failed("listen on loopback port \(loopback.port)")
        }
        return descriptor
    }

    /// Two ends, of which one is read when the other has been written to.
    static func pair() throws(GateError) -> (Descriptor, Descriptor) {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, plainType(SOCK_STREAM), 0, &ends) == 0 else {
            throw GateError(
                .socket, "cannot make a pair of sockets: \(errorText())",
                advice: "raise the limit of open files")
        }
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }

    /// Lets one process at a time serve a runtime directory. The kernel lets go when the process ends, however it ends.
    static func lock(_ directory: String) throws(GateError) -> Descriptor {
        let path = directory + "/gate.lock"
        let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw failed("open \(path)") }
        let descriptor = Descriptor(number)
        guard flock(number, LOCK_EX | LOCK_NB) == 0 else {
            throw GateError(
                .alreadyRunning, "another process serves the gate in \(directory)",
                advice: "stop it, or give this agent a runtime directory of its own")
        }
        return descriptor
    }

    /// Raises the soft limit of open files, within the hard one, to what the gate may need.
    ///
    /// - Returns: the limit now.
    static func allowOpenFiles(_ count: Int) -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return 1024 }
        if limit.rlim_cur < rlim_t(count) {
            let old = limit.rlim_cur
            limit.rlim_cur = min(limit.rlim_max, rlim_t(count))
            if setrlimit(resource, &limit) != 0 { limit.rlim_cur = old }
        }
        return Int(clamping: limit.rlim_cur)
    }

    private static func unixSocket(
        _ type: __socket_type, at path: String, mode: UInt32, group: UInt32?
    ) throws(GateError) -> Descriptor {
        let temporary = path + ".new"
        guard let address = UnixAddress(temporary) else {
            throw GateError(
                .socket, "\(path) is too long for a unix socket",
                advice: "name a runtime directory of at most 90 bytes")
        }
        let number = socket(AF_UNIX, plainType(type), 0)
        guard number >= 0 else { throw failed("make a unix socket") }
        let descriptor = Descriptor(number)
        unlink(temporary)
        let bound = address.withPointer { bind(number, $0, $1) }
        guard bound == 0 else { throw failed("bind \(path)") }
        if let group, chown(temporary, uid_t.max, group) != 0 {
            throw failed("give \(path) to group \(group)")
        }
        guard chmod(temporary, mode) == 0 else { throw failed("set the permissions of \(path)") }
        return descriptor
    }

    private static func moveIntoPlace(_ path: String) throws(GateError) {
        guard rename(path + ".new", path) == 0 else { throw failed("move \(path) into place") }
    }

    /// Non-blocking, and closed in the actions that the agent runs.
    static func plainType(_ type: __socket_type) -> Int32 {
        Int32(type.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    }

    /// The system's word is taken before the others are made.
    static func failed(_ what: @autoclosure () -> String) -> GateError {
        let reason = errorText()
        return GateError(
            .socket, "cannot \(what()): \(reason)",
            advice: "see whether another program uses it and whether the agent may write there")
    }
}
