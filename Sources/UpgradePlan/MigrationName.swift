// SPDX-License-Identifier: Apache-2.0

/// The name of a migration file, `NNNN_name.up.sql` or `NNNN_name.down.sql`, taken apart.
///
/// Names and headers are all that can be said of migrations without PostgreSQL's parser: what `validate` and
/// `plan` show. The statements are read by whoever runs them.
public struct MigrationName: Hashable, Comparable, Sendable, CustomStringConvertible {
    public enum Direction: String, Hashable, Sendable { case up, down }

    /// When an up-migration runs, as a comment before its first statement says: `-- sluice: expand`.
    public enum Moment: String, Hashable, Sendable, CaseIterable {
        /// Before the write window, while everybody writes.
        case expand
        /// In the write window; the standard.
        case `switch`
        /// After the lift.
        case contract
    }

    /// The digits before the first `_`.
    public let number: String
    /// `NNNN_name`: what both directions share.
    public let version: String
    public let direction: Direction

    /// - Returns: `nil` unless the text is digits, `_`, letters, digits, `_` or `-`, and then `.up.sql` or `.down.sql`.
    public init?(file: String) {
        guard file.utf8.count <= 255 else { return nil }
        if file.hasSuffix(".up.sql") {
            direction = .up
            version = String(file.dropLast(7))
        } else if file.hasSuffix(".down.sql") {
            direction = .down
            version = String(file.dropLast(9))
        } else {
            return nil
        }
        let parts = version.split(separator: "_", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty,
            parts[0].utf8.allSatisfy({ (48...57).contains($0) }),
            parts[1].utf8.allSatisfy(MigrationName.isAllowed)
        else { return nil }
        number = String(parts[0])
    }

    public var description: String { "\(version).\(direction.rawValue).sql" }

    /// By number, whatever its leading zeros, then by name.
    public static func < (left: MigrationName, right: MigrationName) -> Bool {
        func key(_ name: MigrationName) -> (Int, String, String, String) {
            let digits = String(name.number.drop { $0 == "0" })
            return (digits.utf8.count, digits, name.version, name.direction.rawValue)
        }
        return key(left) < key(right)
    }

    /// The moment that a migration's header names; `.switch` when it names none.
    ///
    /// Only comment lines and empty lines before the first statement are the header.
    ///
    /// - Returns: the word itself when it is none of the moments.
    public static func moment(inHeaderOf text: String) -> Result<Moment, UnknownMoment> {
        for line in text.split(whereSeparator: \.isNewline) {
            let line = trimmed(line)
            if line.isEmpty { continue }
            guard line.hasPrefix("--") else { break }
            let comment = trimmed(line.dropFirst(2))
            guard comment.hasPrefix("sluice:") else { continue }
            let word = String(trimmed(comment.dropFirst(7)))
            return Moment(rawValue: word).map(Result.success) ?? .failure(UnknownMoment(word: word))
        }
        return .success(.switch)
    }

    /// A word in a migration's header that is no moment.
    public struct UnknownMoment: Error, Hashable, Sendable {
        public let word: String
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
            || byte == 95 || byte == 45
    }

    private static func trimmed(_ text: Substring) -> Substring {
        let start = text.drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return start[...last]
    }
}
