// SPDX-License-Identifier: Apache-2.0

internal import UpgradeModel

/// A table that fits a width: columns give way in the order of their importance, and the last one is cut.
struct Table: Hashable, Sendable {
    struct Column: Hashable, Sendable {
        enum Alignment: Hashable, Sendable { case left, right }

        var title: String
        var alignment: Alignment = .left
        /// The lowest is the last to be left out; 0 is never left out.
        var rank = 0
        /// No cell takes more.
        var atMost = 40
        /// Running text: the last column, cut at the table's edge before another column gives way to it.
        var isText = false
    }

    struct Cell: Hashable, Sendable, ExpressibleByStringLiteral {
        var text: String
        var role: StyledLine.Role

        init(_ text: String, _ role: StyledLine.Role = .plain) {
            self.text = printable(text)
            self.role = role
        }

        init(stringLiteral value: String) { self.init(value) }
    }

    var columns: [Column]
    /// As many cells as there are columns.
    var rows: [[Cell]]

    static let gap = 2

    /// The header and the rows, none wider than `width`.
    func lines(width: Int) -> [StyledLine] {
        let wanted = columns.indices.map { index in
            let cells = rows.map { Operator.columns(of: $0[index].text) }
            return min(
                max(cells.max() ?? 0, Operator.columns(of: columns[index].title)),
                columns[index].atMost)
        }
        // A column of which no row says anything is not shown.
        let shown = fitting(
            columns.indices.filter { index in
                columns[index].rank == 0 || rows.contains { !$0[index].text.isEmpty }
            }, wanted, width)
        let header = shown.map { Cell(columns[$0].title, .faint) }
        return ([header] + rows.map { row in shown.map { row[$0] } }).map { cells in
            line(cells, shown, wanted).fitted(to: width)
        }
    }

    private func fitting(_ candidates: [Int], _ wanted: [Int], _ width: Int) -> [Int] {
        var shown = candidates
        func needed(_ index: Int) -> Int {
            columns[index].isText ? min(wanted[index], 20) : wanted[index]
        }
        func total() -> Int {
            shown.reduce(0) { $0 + needed($1) } + Table.gap * max(0, shown.count - 1)
        }
        while total() > width, let least = shown.max(by: { columns[$0].rank < columns[$1].rank }),
            columns[least].rank > 0
        {
            shown.removeAll { $0 == least }
        }
        return shown
    }

    private func line(_ cells: [Cell], _ shown: [Int], _ wanted: [Int]) -> StyledLine {
        var pieces: [StyledLine.Piece] = []
        for (position, (cell, index)) in zip(cells, shown).enumerated() {
            let isLast = position == shown.count - 1
            let text = fitted(cell.text, to: wanted[index])
            let blank = String(repeating: " ", count: wanted[index] - Operator.columns(of: text))
            let gap = isLast ? "" : String(repeating: " ", count: Table.gap)
            switch columns[index].alignment {
            case .left:
                pieces.append(.init(text: text, role: cell.role))
                if !isLast { pieces.append(.init(text: blank + gap, role: .plain)) }
            case .right:
                if !blank.isEmpty { pieces.append(.init(text: blank, role: .plain)) }
                pieces.append(.init(text: text, role: cell.role))
                if !gap.isEmpty { pieces.append(.init(text: gap, role: .plain)) }
            }
        }
        while let last = pieces.last, last.text.allSatisfy({ $0 == " " }) { pieces.removeLast() }
        return StyledLine(pieces)
    }
}
