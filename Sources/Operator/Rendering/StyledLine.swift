// SPDX-License-Identifier: Apache-2.0

/// One line of output: pieces of text, each with what it means. Colours are chosen only when it is written.
struct StyledLine: Hashable, Sendable, ExpressibleByStringLiteral {
    enum Role: Hashable, Sendable {
        case plain, strong, faint, good, bad, warning, active
    }

    struct Piece: Hashable, Sendable {
        var text: String
        var role: Role
    }

    var pieces: [Piece]

    init(_ pieces: [Piece] = []) { self.pieces = pieces }
    init(_ text: String, _ role: Role = .plain) { pieces = [Piece(text: text, role: role)] }
    init(stringLiteral value: String) { self.init(value) }

    static func + (left: StyledLine, right: StyledLine) -> StyledLine {
        StyledLine(left.pieces + right.pieces)
    }

    /// Without colours.
    var plain: String { pieces.map(\.text).joined() }

    /// At most this many columns.
    func fitted(to width: Int) -> StyledLine {
        var rest = width
        var kept: [Piece] = []
        let isCut = columns(of: plain) > width
        for piece in pieces {
            let length = columns(of: piece.text)
            if length < rest || (length == rest && !isCut) {
                kept.append(piece)
                rest -= length
            } else {
                let text = isCut ? Operator.fitted(piece.text + "…", to: rest) : piece.text
                kept.append(Piece(text: text, role: piece.role))
                break
            }
        }
        return StyledLine(kept)
    }

    /// With the escape sequences of a terminal that has colours.
    var coloured: String {
        pieces.map { piece in
            guard let code = StyledLine.code(of: piece.role) else { return piece.text }
            return "\u{1B}[\(code)m\(piece.text)\u{1B}[0m"
        }.joined()
    }

    func text(inColour: Bool) -> String { inColour ? coloured : plain }

    private static func code(of role: Role) -> String? {
        switch role {
        case .plain: nil
        case .strong: "1"
        case .faint: "2"
        case .good: "32"
        case .bad: "31"
        case .warning: "33"
        case .active: "36"
        }
    }
}
