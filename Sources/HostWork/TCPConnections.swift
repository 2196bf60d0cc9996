// SPDX-License-Identifier: Apache-2.0

internal import Files

/// The TCP connections of processes: `/proc/PID/net/tcp` and `tcp6`, of the network namespace that each is in (proc_net_tcp(5)).
struct TCPConnections {
    struct Connection: Hashable {
        var local: Endpoint
        var remote: Endpoint
        var inode: UInt64

        /// `10.0.0.7:41218->10.0.0.5:5432`, as lsof(8) writes it.
        var description: String { "\(local)->\(remote)" }
    }

    struct Endpoint: Hashable, CustomStringConvertible {
        var address: String
        var port: UInt16

        var description: String { "\(address):\(port)" }
    }

    /// Those that are established and that the process has opened itself: where it listens, others have.
    var all: [Connection] = []
    private var accepting: Set<UInt16> = []

    /// What of a process can be read; nothing where the kernel does not say.
    static func of(_ process: ProcessDetails) -> [Connection] { of([process]) }

    /// The same of several, with one look at each namespace.
    static func of(_ processes: [ProcessDetails]) -> [Connection] {
        var spaces: [String: (process: Int32, inodes: Set<UInt64>)] = [:]
        for process in processes {
            let inodes = Set(process.openFiles.compactMap(\.socket))
            if inodes.isEmpty { continue }
            let space = process.link("ns/net") ?? "\(process.number)"
            spaces[space, default: (process.number, [])].inodes.formUnion(inodes)
        }
        return spaces.values.flatMap { process, inodes in
            var found = TCPConnections()
            for table in ["tcp", "tcp6"] {
                let path = "/proc/\(process)/net/\(table)"
                if let bytes = try? readFile(path, atMost: 16 << 20) {
                    found.take(bytes, of: inodes)
                }
            }
            return found.opened
        }
    }

    private init() {}

    init(parsing bytes: [UInt8]) {
        take(bytes, of: nil)
        all = opened
    }

    private var opened: [Connection] { all.filter { !accepting.contains($0.local.port) } }

    /// - Parameter inodes: the sockets that count; all when `nil`. A busy host has some ten thousand others, so lines are read only as
    ///   far as that tells.
    private mutating func take(_ bytes: [UInt8], of inodes: Set<UInt64>?) {
        // sl local_address rem_address st queues timer retransmit uid timeout inode …
        var columns: [Range<Int>] = []
        var index = bytes.firstIndex(of: 10).map { $0 + 1 } ?? bytes.endIndex
        while index < bytes.endIndex {
            columns.removeAll(keepingCapacity: true)
            while index < bytes.endIndex, bytes[index] != 10 {
                guard bytes[index] != 32 else {
                    index += 1
                    continue
                }
                let start = index
                while index < bytes.endIndex, bytes[index] != 10, bytes[index] != 32 { index += 1 }
                if columns.count < 10 { columns.append(start..<index) }
            }
            index += 1
            if columns.count == 10 { take(bytes, columns, of: inodes) }
        }
    }

    private mutating func take(_ bytes: [UInt8], _ columns: [Range<Int>], of inodes: Set<UInt64>?) {
        let text = { (column: Int) in String(decoding: bytes[columns[column]], as: UTF8.self) }
        let state = bytes[columns[3]]
        // 01 is an established connection, 0A a socket that listens.
        let isListening = state.elementsEqual("0A".utf8)
        guard isListening || state.elementsEqual("01".utf8), let inode = UInt64(text(9)),
            inode != 0, inodes?.contains(inode) ?? true,
            let local = TCPConnections.endpoint(text(1)),
            let remote = TCPConnections.endpoint(text(2))
        else { return }
        if isListening {
            accepting.insert(local.port)
        } else {
            all.append(Connection(local: local, remote: remote, inode: inode))
        }
    }

    /// `0100007F:1538`: each word of the address as the machine, which counts from the little end, has it in memory.
    private static func endpoint(_ text: String) -> Endpoint? {
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
        if bytes.count == 4 {
            return Endpoint(address: bytes.map { "\($0)" }.joined(separator: "."), port: port)
        }
        guard bytes.count == 16 else { return nil }
        let groups = stride(from: 0, to: 16, by: 2).map {
            UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1])
        }
        return Endpoint(address: "[\(HostAddresses.written(groups))]", port: port)
    }
}
