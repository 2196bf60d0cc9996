// SPDX-License-Identifier: Apache-2.0

import MigrationReader

extension QualifiedName {
    /// Quoted, ready for `to_regclass` and for SQL.
    var quoted: String {
        (schema.map { "\(quotedIdentifier($0))." } ?? "") + quotedIdentifier(name)
    }
}

/// An identifier in double quotes.
func quotedIdentifier(_ text: String) -> String {
    "\"" + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
        + "\""
}

/// A text as an SQL literal, with any setting of `standard_conforming_strings`.
func quotedLiteral(_ text: String) -> String {
    let quoted = text.split(separator: "'", omittingEmptySubsequences: false).joined(
        separator: "''")
    guard quoted.contains("\\") else { return "'\(quoted)'" }
    return "E'"
        + quoted.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
        + "'"
}
