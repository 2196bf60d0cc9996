// SPDX-License-Identifier: Apache-2.0

/// Draws lines over those that it drew before, without clearing the screen first, so that nothing flickers.
struct LiveFrame: Sendable {
    private var drawn: [String] = []
    private var isBegun = false

    /// What to write so that the terminal shows these lines in place of the last ones; empty when nothing has changed.
    ///
    /// - Parameter lines: none wider than the terminal, or the count of lines would be wrong.
    mutating func update(_ lines: [String]) -> String {
        guard lines != drawn || !isBegun else { return "" }
        // Synchronized update (?2026) where the terminal knows it; the cursor is hidden while it moves.
        var text = "\u{1B}[?2026h"
        if !isBegun { text += "\u{1B}[?25l" }
        if !drawn.isEmpty { text += "\u{1B}[\(drawn.count)A" }
        text += "\r"
        for line in lines { text += line + "\u{1B}[K\n" }
        // What was longer before is cleared.
        if lines.count < drawn.count { text += "\u{1B}[J" }
        drawn = lines
        isBegun = true
        return text + "\u{1B}[?2026l"
    }

    /// What to write last: the cursor is back, beneath the lines.
    mutating func end() -> String {
        guard isBegun else { return "" }
        isBegun = false
        drawn = []
        return "\u{1B}[?25h"
    }
}
