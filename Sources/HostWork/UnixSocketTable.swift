// SPDX-License-Identifier: Apache-2.0

internal import Files

/// Who listens at the unix sockets of this machine, and what is connected to them: `/proc/net/unix` (proc_net_unix(5)).
public struct UnixSocketTable: Sendable {
    /// Inodes of listening sockets, by path.
    private var listeners: [String: Set<UInt64>] = [:]
    /// Inodes of connections that the server has, waiting to be accepted or accepted, by the path of its socket.
    private var connections: [String: Set<UInt64>] = [:]

    /// The table of now.
    ///
    /// - Returns: `nil` when the kernel does not say.
    public static func now() -> UnixSocketTable? {
        guard let bytes = try? readFile("/proc/net/unix", atMost: 16 << 20) else { return nil }
        return UnixSocketTable(parsing: bytes)
    }

    init(parsing bytes: [UInt8]) {
        for line in bytes.split(separator: 10).dropFirst() {
            // Num RefCount Protocol Flags Type St Inode Path
            let columns = line.split(separator: 32, maxSplits: 7, omittingEmptySubsequences: true)
            guard columns.count == 8 else { continue }
            let text = { (column: Int) in String(decoding: columns[column], as: UTF8.self) }
            guard let inode = UInt64(text(6)), let flags = UInt32(text(3), radix: 16) else {
                continue
            }
            let path = text(7)
            if flags & 0x10000 != 0 {
                listeners[path, default: []].insert(inode)
            } else if text(5) == "02" || text(5) == "03" {
                connections[path, default: []].insert(inode)
            }
        }
    }

    public func listeners(at path: String) -> Set<UInt64> { listeners[path] ?? [] }
    /// The proxy opens one for each request that it passes on and closes it with the answer.
    public func connections(at path: String) -> Set<UInt64> { connections[path] ?? [] }
}
