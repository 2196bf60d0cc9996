// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc

/// How long the listen queues of this machine's sockets are, as the kernel says it to anybody (sock_diag(7)).
///
/// `/proc/net` has the addresses only; what `ss -l` shows as Send-Q comes from here.
public struct ListenQueues: Sendable {
    private var unix: [Unix] = []
    /// By port; of several sockets that share one (SO_REUSEPORT) the sum.
    private var tcp: [UInt16: Int] = [:]

    private struct Unix {
        /// As it was bound: relative paths among them.
        var name: String
        var inode: UInt32
        var length: Int
    }

    /// The queues of now.
    ///
    /// - Returns: `nil` when the kernel does not say.
    public static func now() -> ListenQueues? {
        var queues = ListenQueues()
        let isSaid = [AF_UNIX, AF_INET, AF_INET6].map { family in
            dump(family) { queues.take($0, family) }
        }
        return isSaid.contains(true) ? queues : nil
    }

    /// - Parameter path: links are followed.
    /// - Returns: `nil` when nobody listens there, or in another network namespace.
    public func length(at path: String) -> Int? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        let real = realpath(path, nil).map { pointer in
            defer { Glibc.free(pointer) }
            return String(cString: pointer)
        }
        let name = real?.split(separator: "/").last
        // Of several that were bound to the path, one after the other, the file is the last one's.
        let own = unix.first {
            $0.inode == UInt32(truncatingIfNeeded: status.st_ino)
                && $0.name.split(separator: "/").last == name
        }
        return (own ?? unix.first { $0.name == real })?.length
    }

    public func length(ofPort port: UInt16) -> Int? { tcp[port] }

    /// What `net.core.somaxconn` is; `nil` when the kernel does not say.
    public static var longest: Int? {
        (try? readTextFile("/proc/sys/net/core/somaxconn", atMost: 100))
            .flatMap { Int($0.split(whereSeparator: \.isWhitespace).first ?? "") }
    }

    // MARK: - What the kernel says

    /// Asks for all listening sockets of a family.
    ///
    /// - Returns: whether the kernel has answered to the end.
    private static func dump(_ family: Int32, _ body: (ArraySlice<UInt8>) -> Void) -> Bool {
        let descriptor = socket(
            AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 4 /* NETLINK_SOCK_DIAG */)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience,
            socklen_t(MemoryLayout<timeval>.size))
        let request = request(family)
        guard send(descriptor, request, request.count, 0) == request.count else { return false }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(descriptor, &bytes, bytes.count, 0)
            guard count > 0 else { return false }
            var rest = bytes[..<count]
            while rest.count >= 16 {
                let length = Int(number(rest, 0))
                guard length >= 16, length <= rest.count else { return false }
                switch rest[rest.startIndex + 4] {
                case 2, 3: return rest[rest.startIndex + 4] == 3  // NLMSG_ERROR, NLMSG_DONE
                default: body(rest.dropFirst(16).prefix(length - 16))
                }
                rest = rest.dropFirst((length + 3) & ~3)
            }
        }
    }

    private static func request(_ family: Int32) -> [UInt8] {
        let listening = bytes(1 << 10)
        var body: [UInt8]
        if family == AF_UNIX {
            // unix_diag_req: name, file and queue are wanted.
            body = [UInt8(family), 0, 0, 0] + listening + bytes(0)
            body += bytes(0x1 | 0x2 | 0x10) + bytes(0) + bytes(0)
        } else {
            // inet_diag_req_v2, of any address.
            body = [UInt8(family), UInt8(IPPROTO_TCP), 0, 0] + listening
            body += [UInt8](repeating: 0, count: 48)
        }
        // nlmsghdr: SOCK_DIAG_BY_FAMILY; a request for all.
        return bytes(UInt32(16 + body.count)) + half(20) + half(0x301) + bytes(1) + bytes(0) + body
    }

    private mutating func take(_ message: ArraySlice<UInt8>, _ family: Int32) {
        guard family == AF_UNIX else {
            guard message.count >= 64 else { return }
            let start = message.startIndex
            let port = UInt16(message[start + 4]) << 8 | UInt16(message[start + 5])
            tcp[port, default: 0] += Int(ListenQueues.number(message, 60))
            return
        }
        var entry = Unix(name: "", inode: 0, length: 0)
        var attributes = message.dropFirst(16)
        while attributes.count >= 4 {
            let start = attributes.startIndex
            let head = ListenQueues.number(attributes, 0)
            let (length, kind) = ListenQueues.halves(head)
            guard length >= 4, length <= attributes.count else { break }
            let value = attributes[(start + 4)..<(start + length)]
            switch kind {
            case 0: entry.name = String(decoding: value.prefix { $0 != 0 }, as: UTF8.self)
            case 1 where value.count >= 8: entry.inode = ListenQueues.number(value, 0)
            case 4 where value.count >= 8: entry.length = Int(ListenQueues.number(value, 4))
            default: break
            }
            attributes = attributes.dropFirst((length + 3) & ~3)
        }
        if !entry.name.isEmpty { unix.append(entry) }
    }

    // MARK: - Numbers in the machine's order

    private static func number(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt32 {
        let four = bytes.dropFirst(offset).prefix(4)
        guard four.count == 4 else { return 0 }
        return UInt32(littleEndian: four.reversed().reduce(0) { $0 << 8 | UInt32($1) })
    }

    /// The two halves of what is four bytes, in the order in memory.
    private static func halves(_ number: UInt32) -> (Int, Int) {
        let low = Int(number & 0xffff)
        let high = Int(number >> 16)
        return UInt32(littleEndian: 1) == 1 ? (low, high) : (high, low)
    }

    private static func bytes(_ number: UInt32) -> [UInt8] {
        let number = number.littleEndian
        return (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func half(_ number: UInt16) -> [UInt8] {
        let number = number.littleEndian
        return [UInt8(truncatingIfNeeded: number), UInt8(truncatingIfNeeded: number >> 8)]
    }
}
