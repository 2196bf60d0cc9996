// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The name of a migration file, `NNNN_name.up.sql` or `NNNN_name.down.sql`, taken apart.
///
/// Names and headers are all that can be said of migrations without PostgreSQL's parser: what `validate` and
/// `plan` show. The statements are read by whoever runs them.
public struct MigrationName: Hashable, Comparable, Sendable, CustomStringConvertible {
    public enum MigrationDirection: String, Hashable, Sendable { case up, down }

    /// The digits before the first `_`, 4 to 18 of them.
    public let number: String
    /// `NNNN_name`: what both directions share.
    public let version: String
    public let direction: MigrationDirection

    /// - Returns: `nil` unless the text is four digits or more, `_`, a safe name, and then `.up.sql` or `.down.sql`.
    public init?(file: String) {
        let ending: String
        if file.hasSuffix(".up.sql") {
            (direction, ending) = (.up, ".up.sql")
        } else if file.hasSuffix(".down.sql") {
            (direction, ending) = (.down, ".down.sql")
        } else {
            return nil
        }
        let stem = file.dropLast(ending.count)
        let digits = stem.prefix { $0.isASCII && $0.isNumber }
        guard (4...18).contains(digits.count), stem.dropFirst(digits.count).first == "_",
            isSafeName(String(stem.dropFirst(digits.count + 1)))
        else { return nil }
        number = String(digits)
        version = String(stem)
    }

    /// `12` of `0012`: two migrations of one ordinal are in each other's way.
    public var ordinal: Int { Int(number) ?? 0 }

    public var description: String { "\(version).\(direction.rawValue).sql" }

    /// By number, whatever its leading zeros, then by name.
    public static func < (left: MigrationName, right: MigrationName) -> Bool {
        (left.ordinal, left.version, left.direction.rawValue) < (
            right.ordinal, right.version, right.direction.rawValue
        )
    }

    /// The phase that a migration's header names; `.switch` when it names none.
    ///
    /// Only comment lines (`--`) and empty lines before the first statement are the header.
    ///
    /// - Returns: where and what the word is when it is no phase, or a second one.
    public static func phase(inHeaderOf text: String) -> Result<MigrationPhase, WrongHeader> {
        var found: MigrationPhase?
        // A byte order mark is no white space; CRLF is one character, and not equal to LF.
        let lines = text.trimmingPrefix("\u{FEFF}").split(omittingEmptySubsequences: false) {
            $0 == "\n" || $0 == "\r\n" || $0 == "\r"
        }
        for (index, line) in lines.enumerated() {
            let line = line.drop(while: \.isWhitespace)
            if line.isEmpty { continue }
            guard line.hasPrefix("--") else { break }
            let comment = line.drop { $0.isWhitespace || $0 == "-" }
            guard comment.hasPrefix("sluice:") else { continue }
            let word = String(comment.dropFirst("sluice:".count).filter { !$0.isWhitespace })
            guard let phase = MigrationPhase(rawValue: word), found == nil else {
                return .failure(WrongHeader(line: index + 1, word: word, isSecond: found != nil))
            }
            found = phase
        }
        return .success(found ?? .switch)
    }

    /// A word in a migration's header that is no phase, or one too many.
    public struct WrongHeader: Error, Hashable, Sendable {
        /// Counts from 1.
        public let line: Int
        public let word: String
        public let isSecond: Bool
    }
}
