// SPDX-License-Identifier: Apache-2.0

/// What a server said beside its answers: the first few, each once, and how many more there were.
///
/// Statements may raise them in a loop over millions of rows, so what is kept is bounded.
public struct ServerNotices: Hashable, Sendable {
    /// One of them. The fields are those of PostgreSQL's protocol.
    public struct Notice: Hashable, Sendable {
        /// `WARNING`, `NOTICE`, `INFO`, `LOG` or `DEBUG`, never translated.
        public var severity: String
        public var message: String
        public var detail: String?
        public var hint: String?

        /// On one line, of at most 400 characters.
        public var description: String {
            var text = "\(severity): \(message)"
            if let detail { text += " (\(detail))" }
            if let hint { text += "; hint: \(hint)" }
            text = text.split(whereSeparator: \.isNewline).joined(separator: " ")
            return text.count <= 400 ? text : text.prefix(399) + "…"
        }
    }

    /// So many different ones are kept.
    public static let most = 20

    /// In the order in which they came.
    public private(set) var kept: [Notice] = []
    /// How often each of `kept` came, in its order.
    public private(set) var counts: [Int] = []
    /// How many came that are not in `kept`.
    public private(set) var others = 0

    public init() {}

    public var isEmpty: Bool { kept.isEmpty }

    mutating func add(_ notice: Notice) {
        if let index = kept.firstIndex(of: notice) {
            counts[index] += 1
        } else if kept.count < Self.most {
            kept.append(notice)
            counts.append(1)
        } else {
            others += 1
        }
    }
}

/// Where libpq brings what the server says beside its answers. Used on the connection's thread alone.
final class NoticeReceiver {
    let secrets: [String]
    /// `nil` while nobody wants to hear them.
    var heard: ServerNotices?

    init(_ secrets: [String]) { self.secrets = secrets }
}
