// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Which connections of an application have been open for long.
///
/// The kernel does not say since when a connection is open, so it has to be looked at now and then: one that was there at a look
/// some seconds ago is a WebSocket, a stream, or one that a proxy keeps.
public final class ConnectionAges: Sendable {
    /// A request that takes longer than this is taken for one that does not end by itself.
    public static let longerThan = Duration.seconds(5)

    private let firstSeen = Mutex<[UInt64: ContinuousClock.Instant]>([:])

    public init() {}

    /// Looks at the connections of these sockets; forgets those of all others.
    public func note(_ sockets: [String]) {
        guard let table = UnixSocketTable.now() else { return }
        note(sockets.reduce(into: []) { $0.formUnion(table.connections(at: $1)) }, at: .now)
    }

    func note(_ open: Set<UInt64>, at now: ContinuousClock.Instant) {
        firstSeen.withLock { seen in
            seen = Dictionary(
                open.map { ($0, seen[$0] ?? now) }, uniquingKeysWith: { first, _ in first })
        }
    }

    /// Those that have not been seen for long: requests that may be about to end.
    public func young(among open: Set<UInt64>) -> Set<UInt64> { young(among: open, at: .now) }

    func young(among open: Set<UInt64>, at now: ContinuousClock.Instant) -> Set<UInt64> {
        firstSeen.withLock { seen in
            open.filter { inode in
                seen[inode].map { now - $0 < ConnectionAges.longerThan } ?? true
            }
        }
    }
}
