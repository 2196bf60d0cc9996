// SPDX-License-Identifier: Apache-2.0

/// A value of `synchronous_standby_names`: `s1, s2`, `2 (s1, s2)`, `FIRST 2 (s1, s2)`, `ANY 2 (s1, s2)`, `*`.
struct SynchronousNames {
    private var method: String?
    private var number: Int
    private var names: [String]

    /// - Returns: `nil` for what is not understood.
    init?(_ text: String) {
        let text = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        var list = Substring(text)
        (method, number) = (nil, 1)
        if let open = SynchronousNames.opening(of: text) {
            guard text.last == ")" else { return nil }
            list = text[text.index(after: open)...].dropLast()
            let words = text[..<open].split(separator: " ")
            guard let last = words.last, let count = Int(last), words.count <= 2 else { return nil }
            number = count
            method = words.count == 2 ? words[0].uppercased() : "FIRST"
        }
        guard let names = SynchronousNames.split(list) else { return nil }
        self.names = names
    }

    private static func opening(of text: String) -> String.Index? {
        text.first == "\"" ? nil : text.firstIndex(of: "(")
    }

    /// At commas outside of double quotes.
    private static func split(_ list: Substring) -> [String]? {
        var (names, name, isQuoted) = ([String](), "", false)
        for character in list {
            if character == "\"" { isQuoted.toggle() }
            if character == ",", !isQuoted {
                names.append(name)
                name = ""
            } else {
                name.append(character)
            }
        }
        if isQuoted { return nil }
        names.append(name)
        return names.map { $0.trimmed }.filter { !$0.isEmpty }
    }

    private static func plain(_ name: String) -> String {
        guard name.hasPrefix("\""), name.hasSuffix("\""), name.count > 1 else {
            return name.lowercased()
        }
        return name.dropFirst().dropLast().split(
            separator: "\"\"", omittingEmptySubsequences: false
        )
        .joined(separator: "\"").lowercased()
    }

    /// The same without this standby. Commits wait for no more of the others than are connected, or they would wait for ever; for none
    /// where none is.
    ///
    /// - Parameter others: the names of the standbys that are connected besides.
    func without(_ name: String, others: [String]) -> String {
        let left =
            names.contains("*")
            ? others.map(SynchronousNames.quoted)
            : names.filter { SynchronousNames.plain($0) != name.lowercased() }
        let connected = left.filter { entry in
            others.contains { $0.lowercased() == SynchronousNames.plain(entry) }
        }
        if connected.isEmpty { return "" }
        let list = left.joined(separator: ", ")
        guard let method else { return list }
        return "\(method) \(min(number, connected.count)) (\(list))"
    }

    private static func quoted(_ name: String) -> String { quotedIdentifier(name) }
}

extension String {
    fileprivate var trimmed: String {
        String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}
