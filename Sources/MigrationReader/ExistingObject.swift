// SPDX-License-Identifier: Apache-2.0

/// What a statement with `IF NOT EXISTS` says of the object that it makes, which may be there already.
///
/// PostgreSQL passes such a statement over by the name alone. What is here can be held against what has that name.
public enum ExistingObject: Hashable, Sendable {
    case index(IndexDefinition)
    case relation(Relation)
    /// `ALTER TABLE … ADD COLUMN IF NOT EXISTS`.
    case columns([Column], of: QualifiedName)

    public struct Relation: Hashable, Sendable {
        public enum Kind: String, Hashable, Sendable {
            case table, sequence
            case foreignTable = "foreign table"
            case materializedView = "materialized view"
        }

        public let name: QualifiedName
        public let kind: Kind
        /// The columns that the statement names; an existing table may have more.
        public let columns: [Column]
        /// What it is a partition or a child of.
        public let parents: [QualifiedName]
        /// Of its columns, and of the table itself.
        public let rules: [Rule]
    }

    public struct Column: Hashable, Sendable {
        public let name: String
        /// As `to_regtype` reads it, without modifiers; `nil` when the statement gives no type by name (`other.column%TYPE`).
        public let type: String?
        /// `20`, `10,2`, or empty; `nil` when it is not known how they would be shown.
        public let modifiers: String?
        public let isNotNull: Bool
        public let rules: [Rule]
    }

    init?(_ node: ParseTree.Node, _ statement: String) {
        if let index = node.IndexStmt, index.if_not_exists == true {
            guard let definition = StatementKind.definition(index, statement) else { return nil }
            self = .index(definition)
        } else if let create = node.CreateStmt {
            self.init(create, .table, RuleReader(statement))
        } else if let create = node.CreateForeignTableStmt?.base {
            self.init(create, .foreignTable, RuleReader(statement))
        } else if let create = node.CreateTableAsStmt, create.if_not_exists == true {
            let isView = create.objtype == "OBJECT_MATVIEW"
            self.init(create.into?.rel, isView ? .materializedView : .table)
        } else if let create = node.CreateSeqStmt, create.if_not_exists == true {
            self.init(create.sequence, .sequence)
        } else if let alter = node.AlterTableStmt {
            let rules = RuleReader(statement)
            let columns = alter.cmds.compactMap { command -> Column? in
                guard let command = command.AlterTableCmd, command.missing_ok == true,
                    command.subtype == "AT_AddColumn"
                else { return nil }
                return command.def?.ColumnDef.flatMap { Column($0, rules) }
            }
            if columns.isEmpty { return nil }
            self = .columns(columns, of: alter.relation.qualified)
        } else {
            return nil
        }
    }

    private init?(_ create: ParseTree.Create, _ kind: Relation.Kind, _ rules: RuleReader) {
        guard create.if_not_exists == true else { return nil }
        let elements = create.tableElts ?? []
        let columns = elements.compactMap { $0.ColumnDef.flatMap { Column($0, rules) } }
        let own = elements.compactMap { $0.Constraint.flatMap { rules.rule($0) } }
        self.init(
            create.relation, kind, columns: columns,
            parents: (create.inhRelations ?? []).compactMap { $0.RangeVar?.qualified },
            rules: columns.flatMap(\.rules) + own)
    }

    private init?(
        _ relation: ParseTree.Relation?, _ kind: Relation.Kind, columns: [Column] = [],
        parents: [QualifiedName] = [], rules: [Rule] = []
    ) {
        // A temporary one is the session's own, and none is there before.
        guard let relation, relation.relpersistence != "t" else { return nil }
        self = .relation(
            Relation(
                name: relation.qualified, kind: kind, columns: columns, parents: parents,
                rules: rules))
    }
}

extension ExistingObject.Column {
    private static let serials = [
        "serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8",
        "smallserial": "int2", "serial2": "int2",
    ]

    init?(_ column: ParseTree.Column, _ rules: RuleReader) {
        guard let name = column.colname else { return nil }
        self.name = name
        self.rules = rules.rules(of: column)
        let written = column.typeName
        var names = written?.names?.names ?? []
        var isNotNull = (column.constraints ?? []).contains {
            ["CONSTR_NOTNULL", "CONSTR_PRIMARY"].contains($0.Constraint?.contype ?? "")
        }
        if names.count == 1, let integer = Self.serials[names[0]] {
            names = ["pg_catalog", integer]
            isNotNull = true
        }
        self.isNotNull = isNotNull
        let isNamed = !names.isEmpty && written?.pct_type != true
        let brackets = written?.arrayBounds?.isEmpty == false ? "[]" : ""
        type =
            isNamed
            ? names.map { "\"\($0.replacing("\"", with: "\"\""))\"" }.joined(separator: ".")
                + brackets : nil
        modifiers = Self.modifiers(written?.typmods ?? [], of: names.last)
    }

    private static func modifiers(_ arguments: [ParseTree.Argument], of type: String?) -> String? {
        // The modifiers of an interval are bits of fields.
        if !arguments.isEmpty, type == "interval" { return nil }
        var numbers: [String] = []
        for argument in arguments {
            guard let number = argument.A_Const?.ival else { return nil }
            numbers.append("\(number.ival ?? 0)")
        }
        if type == "numeric", numbers.count == 1 { numbers.append("0") }
        return numbers.joined(separator: ",")
    }
}
