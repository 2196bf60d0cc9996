// SPDX-License-Identifier: Apache-2.0

/// What in a proxy's configuration stands in the way of an upgrade: a bound that held requests meet, or connections that outlast a flip.
public struct HeldBound: Hashable, Sendable {
    /// As people call it: `maxconn of the frontend site`.
    public var name: String
    /// File and line.
    public var position: String
    public var kind: Kind

    public enum Kind: Hashable, Sendable {
        /// So many requests at once, held ones too.
        case requests(Int)
        /// So many at once on their way to the application.
        case passing(Int)
        /// A request is cut off that is held for longer.
        case milliseconds(Int64)
        /// Connections to the application's socket are kept, and lead to the release before after a flip.
        case kept
    }

    public init(_ name: String, at position: String, _ kind: Kind) {
        self.name = name
        self.position = position
        self.kind = kind
    }
}

/// Words of one line, with quotes and escapes as HAProxy and Caddy have them; what follows a `#` at the beginning of a word is a comment.
func words(ofLine line: Substring) -> [String] {
    var words: [String] = []
    var word: String?
    var quote: Character?
    var isEscaped = false
    for one in line {
        if isEscaped {
            word = (word ?? "") + String(one)
            isEscaped = false
        } else if one == "\\", quote != "'", quote != "`" {
            isEscaped = true
        } else if let open = quote {
            if one == open { quote = nil } else { word = (word ?? "") + String(one) }
        } else if one == "\"" || one == "'" || (one == "`" && word == nil) {
            quote = one
            word = word ?? ""
        } else if one == " " || one == "\t" || one == "\r" {
            if let whole = word { words.append(whole) }
            word = nil
        } else if one == "#", word == nil {
            break
        } else {
            word = (word ?? "") + String(one)
        }
    }
    if let whole = word { words.append(whole) }
    return words
}
