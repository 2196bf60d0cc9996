// SPDX-License-Identifier: Apache-2.0

internal import Files

/// The TCP connections of one process: `/proc/PID/net/tcp` and `tcp6`, of its own network namespace (proc_net_tcp(5)).
struct TCPConnections {
    struct Connection: Hashable {
        var remote: String
        var localPort: UInt16
        var inode: UInt64
    }

    var all: [Connection] = []

    /// What of a process can be read; nothing where the kernel does not say.
    static func of(_ process: ProcessDetails) -> [Connection] {
        let inodes = Set(process.openFiles.compactMap(\.socket))
        if inodes.isEmpty { return [] }
        return ["tcp", "tcp6"].flatMap { table in
            let path = "/proc/\(process.number)/net/\(table)"
            guard let bytes = try? readFile(path, atMost: 16 << 20) else { return [Connection]() }
            return TCPConnections(parsing: bytes).all.filter { inodes.contains($0.inode) }
        }
    }

    init(parsing bytes: [UInt8]) {
        for line in bytes.split(separator: 10).dropFirst() {
            // sl local_address rem_address st queues timer retransmit uid timeout inode …
            let columns = line.split(separator: 32, maxSplits: 10, omittingEmptySubsequences: true)
            guard columns.count >= 10 else { continue }
            let text = { (column: Int) in String(decoding: columns[column], as: UTF8.self) }
            // 01 is an established connection.
            guard text(3) == "01", let inode = UInt64(text(9)), inode != 0,
                let local = TCPConnections.endpoint(text(1)),
                let remote = TCPConnections.endpoint(text(2))
            else { continue }
            all.append(
                Connection(
                    remote: "\(remote.address):\(remote.port)", localPort: local.port,
                    inode: inode))
        }
    }

    /// `0100007F:1538`: each word of the address as the machine, which counts from the little end, has it in memory.
    private static func endpoint(_ text: String) -> (address: String, port: UInt16)? {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1], radix: 16) else { return nil }
        let digits = Array(parts[0])
        var bytes: [UInt8] = []
        for start in stride(from: 0, to: digits.count - 7, by: 8) {
            guard let word = UInt32(String(digits[start..<(start + 8)]), radix: 16) else {
                return nil
            }
            bytes += [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: word >> $0) }
        }
        let isMapped =
            bytes.count == 16 && bytes.prefix(12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]
        if isMapped { bytes.removeFirst(12) }
        if bytes.count == 4 { return (bytes.map { "\($0)" }.joined(separator: "."), port) }
        guard bytes.count == 16 else { return nil }
        let groups = stride(from: 0, to: 16, by: 2).map {
            String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
        }
        return ("[\(groups.joined(separator: ":"))]", port)
    }
}
