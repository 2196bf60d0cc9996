// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What was there before a migration tool first ran in a moment of a run.
struct ToolBaseline {
    var entries: [String]
    var unfinished: [String]
    /// What it is told to go back to.
    var heads: [String]
    var schema: SchemaFingerprint

    /// The same as lists of text, in the order in which they are kept.
    var parts: [[String]] { [entries, unfinished, heads, schema.lines] }

    init(_ state: ToolLedgerState, _ ledger: ToolLedger, _ schema: SchemaFingerprint) {
        entries = state.ordered
        unfinished = state.unfinished.sorted()
        heads = ledger.heads(of: entries)
        self.schema = schema
    }

    /// - Parameter rows: the number of a part and one of its texts; `NULL` for a part without any.
    /// - Returns: `nil` when nothing was kept.
    init?(_ rows: Rows) {
        if rows.isEmpty { return nil }
        func part(_ number: Int64) -> [String] {
            rows.filter { $0.integer(0) == number }.compactMap { $0[1] }
        }
        entries = part(0)
        unfinished = part(1)
        heads = part(2)
        schema = SchemaFingerprint(lines: part(3))
    }

    /// The ledger for comparison: an entry that was begun and is not ended is something other than before, too.
    private var ledger: [String] { entries + unfinished.map { "\($0) (unfinished)" } }

    /// What is other than in an earlier one, and the objects of the schema that are.
    func change(from before: ToolBaseline) -> (ToolChange, [String]) {
        let differences = schema.differences(from: before.schema)
        let (old, new) = (Set(before.ledger), Set(ledger))
        let change = ToolChange(
            isSchemaChanged: !differences.isEmpty, added: ledger.filter { !old.contains($0) },
            removed: before.ledger.filter { !new.contains($0) })
        return (change, differences)
    }
}

func quotedArray(_ texts: [String]) -> String {
    "ARRAY[\(texts.map(quotedLiteral).joined(separator: ", "))]::text[]"
}
