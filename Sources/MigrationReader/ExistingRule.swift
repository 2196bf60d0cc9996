// SPDX-License-Identifier: Apache-2.0

extension ExistingObject {
    /// What a statement says of a table beside its columns' types, as far as it can be held against what is there.
    ///
    /// Not said: what an expression computes (`GENERATED … STORED`), exclusions, whether something is deferrable.
    public enum Rule: Hashable, Sendable {
        /// The expression as it stands in the statement.
        case standard(column: String, expression: String)
        /// `serial` or an identity: it draws a number when nothing is said.
        case numbered(column: String)
        /// With its parentheses.
        case check(expression: String)
        case key(columns: [String], isPrimary: Bool)
        /// `others` is empty where the statement names none: those of the primary key. The actions are PostgreSQL's letters.
        case reference(
            columns: [String], table: QualifiedName, others: [String], onUpdate: String,
            onDelete: String)
    }
}

/// Finds rules in the tree of a statement, and their expressions in its text.
struct RuleReader {
    private let bytes: [UInt8]

    init(_ statement: String) { bytes = Array(statement.utf8) }

    func rules(of column: ParseTree.Column) -> [ExistingObject.Rule] {
        guard let name = column.colname else { return [] }
        let constraints = (column.constraints ?? []).compactMap(\.Constraint)
        let written = column.typeName?.names?.names ?? []
        let isSerial =
            written.count == 1
            && ["serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"].contains(
                written[0])
        let numbered: [ExistingObject.Rule] = isSerial ? [.numbered(column: name)] : []
        // Each begins where the one before has ended.
        let starts =
            constraints.compactMap(\.location)
            + [column.collClause?.location].compactMap(\.self)
        return numbered
            + constraints.compactMap { constraint in
                let next = starts.filter { $0 > constraint.location ?? .max }.min()
                return rule(constraint, of: name, until: next)
            }
    }

    /// - Parameters:
    ///   - column: that it stands at; `nil` for one of the table.
    ///   - next: where something else begins.
    func rule(
        _ constraint: ParseTree.Constraint, of column: String? = nil, until next: Int? = nil
    ) -> ExistingObject.Rule? {
        let own = column.map { [$0] } ?? []
        func columns(_ names: [ParseTree.Argument]?) -> [String] {
            names.map(\.names).flatMap { $0.isEmpty ? nil : $0 } ?? own
        }
        switch constraint.contype {
        case "CONSTR_DEFAULT":
            guard let column, let text = expression(of: constraint, until: next) else { return nil }
            return .standard(column: column, expression: text)
        case "CONSTR_IDENTITY": return column.map { .numbered(column: $0) }
        case "CONSTR_CHECK":
            guard let text = expression(of: constraint, until: next), text.hasPrefix("("),
                let end = SQLText.endOfGroup(Array(text.utf8), 0)
            else { return nil }
            return .check(expression: String(decoding: Array(text.utf8)[..<end], as: UTF8.self))
        case "CONSTR_PRIMARY": return key(columns(constraint.keys), isPrimary: true)
        case "CONSTR_UNIQUE": return key(columns(constraint.keys), isPrimary: false)
        case "CONSTR_FOREIGN":
            guard let table = constraint.pktable else { return nil }
            return .reference(
                columns: columns(constraint.fk_attrs), table: table.qualified,
                others: constraint.pk_attrs?.names ?? [],
                onUpdate: constraint.fk_upd_action ?? "a",
                onDelete: constraint.fk_del_action ?? "a")
        default: return nil
        }
    }

    /// With `USING INDEX` it names none.
    private func key(_ columns: [String], isPrimary: Bool) -> ExistingObject.Rule? {
        columns.isEmpty ? nil : .key(columns: columns, isPrimary: isPrimary)
    }

    /// What follows the word of a constraint, up to the next one or the end of the element.
    private func expression(of constraint: ParseTree.Constraint, until next: Int?) -> String? {
        guard var start = constraint.location, start < bytes.count else { return nil }
        func skipWord() {
            start = SQLText.skipBlanks(
                bytes, SQLText.endOfIdentifier(bytes, start)..<bytes.count)
        }
        // CONSTRAINT name DEFAULT …
        if constraint.conname != nil {
            skipWord()
            skipWord()
        }
        skipWord()
        let end = min(next ?? bytes.count, SQLText.endOfElement(bytes, start))
        guard start < end else { return nil }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }
}

extension SQLText {
    /// The end of an element of a list: the comma after it, or the bracket that closes the list.
    static func endOfElement(_ bytes: [UInt8], _ start: Int) -> Int {
        var index = start
        while index < bytes.count {
            index = skipBlanks(bytes, index..<bytes.count)
            guard index < bytes.count else { break }
            switch bytes[index] {
            case UInt8(ascii: ","), UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: ";"):
                return index
            case UInt8(ascii: "("), UInt8(ascii: "["):
                guard let end = endOfGroup(bytes, index) else { return bytes.count }
                index = end
            default: index = endOfToken(bytes, index)
            }
        }
        return bytes.count
    }

    /// Behind the bracket that closes what begins at `start`; `nil` where none does.
    static func endOfGroup(_ bytes: [UInt8], _ start: Int) -> Int? {
        var depth = 0
        var index = start
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "("), UInt8(ascii: "["):
                depth += 1
                index += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"):
                depth -= 1
                index += 1
                if depth == 0 { return index }
            default: index = endOfToken(bytes, index)
            }
            index = skipBlanks(bytes, index..<bytes.count)
        }
        return nil
    }

    /// Behind a string, a name, or one other character.
    private static func endOfToken(_ bytes: [UInt8], _ start: Int) -> Int {
        switch bytes[start] {
        case UInt8(ascii: "'"): return endOfString(bytes, start, hasEscapes: false)
        case UInt8(ascii: "E"), UInt8(ascii: "e"):
            if start + 1 < bytes.count, bytes[start + 1] == UInt8(ascii: "'") {
                return endOfString(bytes, start + 1, hasEscapes: true)
            }
            return endOfIdentifier(bytes, start)
        case UInt8(ascii: "$"):
            guard let close = bytes[(start + 1)...].firstIndex(of: UInt8(ascii: "$")) else {
                return start + 1
            }
            let tag = bytes[start...close]
            guard tag.dropFirst().dropLast().allSatisfy({ $0 >= 48 && $0 != 59 }) else {
                return start + 1
            }
            return bytes[(close + 1)...].firstRange(of: tag)?.upperBound ?? bytes.count
        default: return max(endOfIdentifier(bytes, start), start + 1)
        }
    }

    private static func endOfString(_ bytes: [UInt8], _ start: Int, hasEscapes: Bool) -> Int {
        var index = start + 1
        while index < bytes.count {
            if hasEscapes, bytes[index] == UInt8(ascii: "\\") {
                index += 2
                continue
            }
            index += 1
            if bytes[index - 1] == UInt8(ascii: "'") {
                // Twice is one of the string's own.
                guard index < bytes.count, bytes[index] == UInt8(ascii: "'") else { return index }
                index += 1
            }
        }
        return bytes.count
    }
}
