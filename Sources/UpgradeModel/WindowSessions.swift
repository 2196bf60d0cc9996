// SPDX-License-Identifier: Apache-2.0

/// Whose a session of a database is, as far as the server can say.
public struct SessionHolder: Hashable, Codable, Sendable {
    public var role: String
    public var application: String
    /// The client's address in digits; `nil`: a socket of the server's own host.
    public var address: String?

    public init(role: String, application: String, address: String?) {
        self.role = role
        self.application = application
        self.address = address
    }

    /// `role shop, application cron, from 10.0.0.9`
    public var description: String {
        "role \(role), application \(application.isEmpty ? "(none)" : application), from "
            + (address ?? "the server's own host")
    }
}

/// Who could write to a database before and in a write window, and since when the fence of that window is up.
public struct WindowSessions: Hashable, Codable, Sendable {
    /// As the server writes an instant; `nil` from a task before the fence.
    public var since: String?
    public var holders: Set<SessionHolder>
    /// There are signs of a pooler, whose connections are older than any release.
    public var hasPooler: Bool
    /// Whether the server's own host is known to be a node: connections that an agent has seen there are sessions here. `nil`: nobody
    /// knows.
    public var isOnNode: Bool? = nil

    /// So many holders are kept.
    public static let most = 200

    public init(since: String? = nil, holders: Set<SessionHolder>, hasPooler: Bool = false) {
        self.since = since
        self.holders = holders
        self.hasPooler = hasPooler
        if holders.count > Self.most {
            self.holders = Set(
                holders.sorted { $0.description < $1.description }.prefix(Self.most))
        }
    }

    /// What two tasks of one run have seen.
    public func merged(with later: WindowSessions) -> WindowSessions {
        var merged = WindowSessions(
            since: later.since ?? since, holders: holders.union(later.holders),
            hasPooler: hasPooler || later.hasPooler)
        merged.isOnNode = later.isOnNode ?? isOnNode
        return merged
    }
}

/// A session that could write, seen once writes were open.
public struct LateSession: Hashable, Sendable {
    public var holder: SessionHolder
    /// It began before the fence went up.
    public var isOlder: Bool

    public init(holder: SessionHolder, isOlder: Bool) {
        self.holder = holder
        self.isOlder = isOlder
    }
}

/// Where the nodes of a run are, as far as it is known.
public struct NodePlaces: Hashable, Sendable {
    public var addresses: Set<String>
    /// The names of those that do not say their addresses.
    public var silent: [String]
    /// Whether the database's own host is one of them; `nil` where nobody knows.
    public var hasServer: Bool?

    public init(addresses: Set<String>, silent: [String] = [], hasServer: Bool? = nil) {
        self.addresses = addresses
        self.silent = silent
        self.hasServer = hasServer
    }

    /// Who vouches for the sessions that come from a place.
    fileprivate enum Voucher { case agent, nobody, unknown }

    fileprivate func voucher(of holder: SessionHolder) -> Voucher {
        guard !holder.isOfServersHost, let address = holder.address else {
            guard let hasServer else { return .unknown }
            return hasServer ? .agent : .nobody
        }
        if addresses.contains(address) { return .agent }
        return silent.isEmpty ? .nobody : .unknown
    }

    /// Why it is not known whose a session is.
    fileprivate func doubt(about holder: SessionHolder) -> String {
        if holder.isOfServersHost {
            return "nobody knows whether the server's own host is a node; look there"
        }
        let names = silent.prefix(3).joined(separator: ", ")
        let more = silent.count > 3 ? " and \(silent.count - 3) more" : ""
        return "\(names)\(more) did not say where they are; look whether it is one of them"
    }
}

extension SessionHolder {
    /// It comes by a socket, or by the loopback network.
    fileprivate var isOfServersHost: Bool {
        address.map { ["127.0.0.1", "::1"].contains($0) } ?? true
    }
}

/// Which sessions may be the old release's after the lift, though no agent can say so.
///
/// On nodes the agents vouch for the old release: its processes are frozen, and what is started again is ended and named. A session of any
/// other machine that is older than the window, or like one that was there before it, is nobody's word.
public struct LateSessions: Hashable, Sendable {
    /// What a person should look at.
    public var warnings: [Diagnostic] = []
    /// What is as likely to be in order, and what could not be judged.
    public var lines: [String] = []

    public static let code = "old-session"
    /// So many are named one by one.
    public static let mostNamed = 10

    public init(_ seen: [LateSession], before: WindowSessions, nodes: NodePlaces) {
        let counted = seen.filter { $0.isOlder || before.holders.contains($0.holder) }
        let foreign = counted.filter { nodes.voucher(of: $0.holder) == .nobody }
        let older = foreign.filter(\.isOlder).map(\.holder)
        let alike = foreign.filter { !$0.isOlder }.map(\.holder)
        let end =
            "see what runs there, end it or bring it to the new release, and put an agent or `drain: {sessions: end}` beside it for the next time"
        let renew =
            before.hasPooler
            ? "if a pooler is there, renew its connections (docs/pooler.md); else " : ""
        for name in Self.grouped(older) {
            warnings.append(
                Diagnostic(
                    .warning, code: Self.code,
                    "older than the window, from a machine without an agent, so perhaps the old release's: \(name)",
                    advice: renew + end))
        }
        let later = Self.grouped(alike).map {
            "begun after the lift, from a machine without an agent, like one from before the window: \($0)"
        }
        if before.hasPooler {
            lines = later.map { "\($0); a pooler renews its connections so" }
        } else {
            warnings += later.map {
                Diagnostic(.warning, code: Self.code, $0, advice: end)
            }
        }
        let unknown = counted.map(\.holder).filter { nodes.voucher(of: $0) == .unknown }
        for (doubt, holders) in Dictionary(grouping: unknown, by: nodes.doubt).sorted(by: {
            $0.key < $1.key
        }) {
            lines += Self.grouped(holders).map {
                "perhaps the old release's, which could not be judged, for \(doubt): \($0)"
            }
        }
    }

    private static func grouped(_ holders: [SessionHolder]) -> [String] {
        var counts: [String: Int] = [:]
        for holder in holders { counts[holder.description, default: 0] += 1 }
        let names = counts.sorted { $0.key < $1.key }.map { name, count in
            "\(count) \(count == 1 ? "session" : "sessions") of \(name)"
        }
        guard names.count > mostNamed else { return names }
        return names.prefix(mostNamed) + ["\(names.count - mostNamed) more holders of sessions"]
    }
}
