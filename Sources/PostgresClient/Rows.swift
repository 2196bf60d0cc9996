// SPDX-License-Identifier: Apache-2.0

/// What a statement returned: its rows as text, and how many rows it touched.
public struct Rows: Sendable, RandomAccessCollection {
    /// One row; a cell is `nil` where the value is NULL.
    public struct Row: Sendable {
        let columns: [String]
        public let cells: [String?]

        /// The cell of a column by its number, from 0. `nil` for NULL and for a column that is not there.
        public subscript(_ column: Int) -> String? {
            cells.indices.contains(column) ? cells[column] : nil
        }

        /// The cell of a column by its name. `nil` for NULL and for a column that is not there.
        public subscript(_ column: String) -> String? {
            columns.firstIndex(of: column).flatMap { cells[$0] }
        }

        /// The text of a cell, empty for NULL.
        public func text(_ column: Int) -> String { self[column] ?? "" }
        /// The whole number of a cell, or `nil` when it is none.
        public func integer(_ column: Int) -> Int64? { self[column].flatMap { Int64($0) } }
        /// Whether a boolean cell is true.
        public func isTrue(_ column: Int) -> Bool { self[column] == "t" }
    }

    public let columns: [String]
    let cells: [[String?]]
    /// Rows inserted, updated, deleted or selected, as the server counted.
    public let affected: Int

    public var startIndex: Int { 0 }
    public var endIndex: Int { cells.count }
    public subscript(_ index: Int) -> Row { Row(columns: columns, cells: cells[index]) }
}
