// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// A YAML document as it may be used: scalars, sequences and mappings with scalar keys, each with
/// its position. No anchors, aliases or tags, at most 64 levels.
struct DocumentTree {
    enum Content {
        case scalar(String, isQuoted: Bool)
        case sequence([DocumentTree])
        /// In the order of the text; a key that is given twice is there twice.
        case mapping([Pair])
        /// Something that is not read and has been reported, such as a tag.
        case refused
    }

    struct Pair {
        var key: String
        var keyPosition: Diagnostic.Position
        var value: DocumentTree
    }

    var content: Content
    var position: Diagnostic.Position

    /// Whether there is nothing: an empty plain scalar, `~` or `null`.
    var isNull: Bool {
        guard case .scalar(let text, isQuoted: false) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// Whether this, or an item or value directly in it, has been refused.
    var hasRefused: Bool {
        switch content {
        case .scalar: false
        case .sequence(let items):
            items.contains { if case .refused = $0.content { true } else { false } }
        case .mapping(let pairs):
            pairs.contains { if case .refused = $0.value.content { true } else { false } }
        case .refused: true
        }
    }

    /// What it is, for a message that says what was found instead.
    var kind: String {
        switch content {
        case .scalar(let text, _): isNull ? "nothing" : quoted(text)
        case .sequence: "a list"
        case .mapping: "a section of keys"
        case .refused: "something that is not read"
        }
    }
}
