// SPDX-License-Identifier: Apache-2.0

/// A command of psql in a file, which no server knows.
struct PsqlWord {
    let message: String
    let advice: String

    /// - Returns: `nil` when the line does not begin with a backslash.
    init?(line: String) {
        let line = line.drop(while: \.isWhitespace)
        guard line.first == "\\" else { return nil }
        let word = String(line.dropFirst().prefix { !$0.isWhitespace })
        message = "\\\(word) is a command of psql, not SQL"
        advice =
            switch word {
            case "restrict", "unrestrict": "pg_dump writes it for psql; remove the line"
            case "c", "connect": "a migration runs on the plan's database; remove the line"
            case "copy": "write the rows as INSERT … VALUES"
            case "i", "ir", "include", "include_relative": "put that file's statements here"
            case "set", "unset", "gset": "write the value where it is used"
            case ".": "it ends the data of a COPY; write the rows as INSERT … VALUES"
            default: "remove the line"
            }
    }
}

/// What PostgreSQL has learned after the version whose parser is linked (15).
enum NewerSyntax {
    static let parserVersion = 15

    /// Runs of words, each of which no statement of version 15 has in that order.
    private static let phrases: [[String]] = [
        ["JSON_TABLE"], ["JSON_QUERY"], ["JSON_VALUE"], ["JSON_EXISTS"], ["JSON_SCALAR"],
        ["JSON_SERIALIZE"], ["JSON_ARRAY"], ["JSON_OBJECT"], ["JSON_ARRAYAGG"], ["JSON_OBJECTAGG"],
        ["IS", "JSON"], ["WITHOUT", "OVERLAPS"], ["PERIOD"], ["NOT", "ENFORCED"],
        ["ENFORCED"], ["VIRTUAL"], ["BY", "SOURCE"], ["BY", "TARGET"], ["AT", "LOCAL"],
        ["INDENT"], ["STORAGE"], ["SET", "EXPRESSION"], ["STATISTICS", "DEFAULT"],
        ["METHOD", "DEFAULT"], ["ADD", "NOT", "NULL"], ["WITH", "INHERIT"], ["WITH", "SET"],
        ["SYSTEM_USER"], ["VACUUM", "ONLY"], ["ANALYZE", "ONLY"], ["RETURNING", "WITH"],
    ]

    static func isIn(_ statement: String) -> Bool {
        let words = SQLText.words(statement)
        // Of MERGE, version 15 knows no RETURNING; of a constraint by name, no NOT NULL.
        if words.first == "MERGE", words.contains("RETURNING") { return true }
        if let index = words.firstIndex(of: "CONSTRAINT"),
            words.dropFirst(index + 2).starts(with: ["NOT", "NULL"])
        {
            return true
        }
        return phrases.contains { phrase in
            words.indices.contains { words[$0...].starts(with: phrase) }
        }
    }
}
