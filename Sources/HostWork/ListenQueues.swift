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
            SocketDump.all(
                family, in: .listening,
                wanting: SocketDump.name | SocketDump.file | SocketDump.queue
            ) { queues.take($0, family) }
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

    private mutating func take(_ message: ArraySlice<UInt8>, _ family: Int32) {
        guard family == AF_UNIX else {
            guard message.count >= 64 else { return }
            let start = message.startIndex
            let port = UInt16(message[start + 4]) << 8 | UInt16(message[start + 5])
            tcp[port, default: 0] += Int(SocketDump.number(message, 60))
            return
        }
        var entry = Unix(name: "", inode: 0, length: 0)
        for (kind, value) in SocketDump.attributes(of: message) {
            switch kind {
            case 0: entry.name = String(decoding: value.prefix { $0 != 0 }, as: UTF8.self)
            case 1 where value.count >= 8: entry.inode = SocketDump.number(value, 0)
            case 4 where value.count >= 8: entry.length = Int(SocketDump.number(value, 4))
            default: break
            }
        }
        if !entry.name.isEmpty { unix.append(entry) }
    }
}
