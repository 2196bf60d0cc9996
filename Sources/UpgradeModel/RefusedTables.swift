// SPDX-License-Identifier: Apache-2.0

/// Which tables the fence refused statements to, and how often, as far as it was counted.
///
/// A statement that was tried three times counts three times. What a read-only transaction or missing rights have refused never came to
/// the fence, and is not in it.
public struct RefusedTables: Hashable, Codable, Sendable {
    public struct Table: Hashable, Codable, Sendable {
        /// With its schema, unless that is `public`.
        public var name: String
        public var statements: Int64

        public init(name: String, statements: Int64) {
            self.name = name
            self.statements = statements
        }
    }

    /// Those that were refused at least once, the most refused first.
    public var tables: [Table]
    /// Statements to all those together that have no counter of their own.
    public var others: Int64

    /// So many are named one by one for people; the others are in the report's JSON.
    public static let mostNamed = 10

    public init(tables: [Table], others: Int64 = 0) {
        self.tables = tables.sorted { ($1.statements, $0.name) < ($0.statements, $1.name) }
        self.others = others
    }

    /// `django_session 412 times, auth_user once, other tables 3 times`; `nil` when nothing was refused.
    public var description: String? {
        func times(_ count: Int64) -> String { count == 1 ? "once" : "\(count) times" }
        var parts = tables.prefix(Self.mostNamed).map { "\($0.name) \(times($0.statements))" }
        let rest = tables.dropFirst(Self.mostNamed)
        if !rest.isEmpty {
            let sum = rest.reduce(0) { $0 + $1.statements }
            parts.append("\(counted(rest.count, "more table")) \(times(sum))")
        }
        if others > 0 { parts.append("other tables \(times(others))") }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}
