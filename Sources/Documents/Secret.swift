// SPDX-License-Identifier: Apache-2.0

/// What a secret written in clear looks like.
///
/// A document that is stored, shown and signed may not hold one. This finds the ways in which people write them by habit; it is
/// no proof that a text has none.
enum Secret {
    private static let words = [
        "password", "passwd", "passphrase", "secret", "token", "apikey", "privatekey", "accesskey",
        "credential",
    ]

    /// Whether the name of a key announces a secret: `db_password`, `API-Token`.
    static func isNamed(by key: String) -> Bool {
        let plain = normalized(key)
        return words.contains(where: plain.contains)
    }

    static func isIn(_ text: String) -> Bool {
        !offsets(in: Array(text.unicodeScalars)).isEmpty
    }

    /// Where secrets begin: a URL with a password, `password=…`, a private key's header.
    static func offsets(in scalars: [Unicode.Scalar]) -> [Int] {
        var found: [Int] = []
        for index in scalars.indices {
            switch scalars[index] {
            case ":" where hasPassword(scalars, authorityAfter: index): found.append(index)
            case "=" where isAssignment(scalars, at: index): found.append(index)
            case "-" where isPrivateKey(scalars, at: index): found.append(index)
            default: break
            }
        }
        return found
    }

    /// `scheme://user:password@`, seen from its first colon.
    private static func hasPassword(_ scalars: [Unicode.Scalar], authorityAfter colon: Int) -> Bool
    {
        guard starts(scalars, with: "://", at: colon) else { return false }
        let authority = scalars[(colon + 3)...].prefix(1024).prefix {
            !$0.properties.isWhitespace && !"/?#\"'`<>".unicodeScalars.contains($0)
        }
        guard let at = authority.lastIndex(of: "@"),
            let separator = authority[..<at].firstIndex(of: ":")
        else { return false }
        return separator + 1 < at
    }

    /// `password=…`, as libpq's connection strings and URL queries have it, seen from its `=`.
    private static func isAssignment(_ scalars: [Unicode.Scalar], at equals: Int) -> Bool {
        let name = scalars[max(0, equals - 8)..<equals].map { Character($0).lowercased() }.joined()
        guard name.hasSuffix("password") || name.hasSuffix("passwd"), equals + 1 < scalars.count
        else { return false }
        let next = scalars[equals + 1]
        return !next.properties.isWhitespace && !"$<\"'`&".unicodeScalars.contains(next)
    }

    private static func isPrivateKey(_ scalars: [Unicode.Scalar], at dash: Int) -> Bool {
        guard starts(scalars, with: "-----BEGIN ", at: dash) else { return false }
        let header = String(String.UnicodeScalarView(scalars[dash...].prefix(64)))
        return header.contains("PRIVATE KEY")
    }

    private static func starts(
        _ scalars: [Unicode.Scalar], with text: String, at index: Int
    ) -> Bool {
        scalars[index...].starts(with: text.unicodeScalars)
    }
}

/// A key without case, hyphens and underscores: `max-Unavailable` and `max_unavailable` are alike.
func normalized(_ key: String) -> String {
    key.lowercased().filter { $0 != "_" && $0 != "-" && $0 != " " }
}
