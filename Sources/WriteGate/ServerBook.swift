// SPDX-License-Identifier: Apache-2.0

import Files
import Synchronization

/// The servers of the proxy through which writes have come, the latest last. Kept in the runtime directory, so that the next agent
/// knows them before the next write; gone with it after a boot.
final class ServerBook: Sendable {
    private let servers: Mutex<[ProxyServer]>
    private let marks = Mutex<String?>(nil)
    private let file: String
    private static let atMost = 16

    init(_ directory: String) {
        file = directory + "/servers"
        let text = (try? readTextFile(file, atMost: 65_536)) ?? ""
        let known = text.split(separator: "\n").compactMap { ProxyServer(String($0)) }
        servers = Mutex(Array(known.suffix(Self.atMost)))
    }

    var all: [ProxyServer] { servers.withLock { $0 } }

    var sessionMarks: String? { marks.withLock { $0 } }

    func noteSessionMarks(_ text: String) { marks.withLock { if $0 != text { $0 = text } } }

    /// A write has come through it, as far as the gate or the application.
    func note(_ server: ProxyServer) {
        let changed = servers.withLock { servers -> [ProxyServer]? in
            if let index = servers.firstIndex(where: { $0.isSame(as: server) }) {
                // In memory only: a client chooses the host, and no client makes the agent write.
                servers[index] = server
                return nil
            }
            if servers.count >= Self.atMost { servers.removeFirst() }
            servers.append(server)
            return servers
        }
        guard let changed else { return }
        let text = changed.map { $0.text + "\n" }.joined()
        // Without it the next agent hears of the server with the next write.
        try? writeFile(file, Array(text.utf8), mode: 0o600, isSynced: false)
    }
}
