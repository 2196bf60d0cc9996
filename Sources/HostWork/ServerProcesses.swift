// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc

/// The processes of a PostgreSQL server on this machine that unix sockets of others lead to.
///
/// A database knows a session that came by a unix socket by nothing but its own process. Whose socket it is, the kernel says
/// (sock_diag(7)); whoever may not read other users' processes finds none.
enum ServerProcesses {
    /// What `/proc/PID/stat` calls them.
    private static let name = "postgres"

    /// As the server counts its processes, each with when it began: `postgres:4711@1764460000.12`. Sorted.
    static func connected(to processes: [ProcessDetails]) -> [String] {
        let peers = peers(of: Set(processes.flatMap(\.openFiles).compactMap(\.socket)))
        guard !peers.isEmpty, let boot = bootTime() else { return [] }
        let servers = ProcessTable.all().filter { $0.name == name }.map { process in
            let sockets = ProcessDetails(number: process.number).openFiles.compactMap(\.socket)
            return (process: process, ends: peers.intersection(sockets))
        }
        // What a server was started with, all its processes have; a session's end has one of them.
        var holders: [UInt64: Int] = [:]
        for end in servers.flatMap(\.ends) { holders[end, default: 0] += 1 }
        return servers.filter { $0.ends.contains { holders[$0] == 1 } }.map { process, _ in
            "\(name):\(ownNumber(process.number))@\(began(process.identity.start, boot))"
        }.sorted()
    }

    /// The other ends of unix sockets, by inodes.
    private static func peers(of inodes: Set<UInt64>) -> Set<UInt64> {
        if inodes.isEmpty { return [] }
        var peers: Set<UInt64> = []
        _ = SocketDump.all(AF_UNIX, in: .established, wanting: SocketDump.peer) { message in
            guard message.count >= 16, inodes.contains(UInt64(SocketDump.number(message, 4)))
            else { return }
            for (kind, value) in SocketDump.attributes(of: message) where kind == 2 {
                peers.insert(UInt64(SocketDump.number(value, 0)))
            }
        }
        return peers
    }

    /// In a container a process has another number for itself than for the host: the last of `NSpid`.
    private static func ownNumber(_ number: Int32) -> Int32 {
        let status = (try? readTextFile("/proc/\(number)/status", atMost: 64 << 10)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("NSpid:") }
        return line?.split(whereSeparator: \.isWhitespace).last.flatMap { Int32($0) } ?? number
    }

    /// Seconds since 1970; `nil` where the kernel does not say.
    private static func bootTime() -> UInt64? {
        let text = (try? readTextFile("/proc/stat", atMost: 1 << 20)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("btime ") }
        return line?.split(separator: " ").last.flatMap { UInt64($0) }
    }

    private static func began(_ ticks: UInt64, _ boot: UInt64) -> String {
        let each = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
        let hundredths = ticks % each * 100 / each
        return "\(boot + ticks / each).\(hundredths < 10 ? "0" : "")\(hundredths)"
    }
}
