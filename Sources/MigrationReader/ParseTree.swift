// SPDX-License-Identifier: Apache-2.0

import CPgQuery
import FoundationEssentials

/// The parts of libpg_query's JSON that are looked at. The names are those of PostgreSQL's parse nodes.
struct ParseTree: Decodable {
    struct Entry: Decodable { var stmt: Node }
    struct Relation: Decodable {
        var schemaname: String?
        var relname: String
        var relpersistence: String?
        var location: Int?
        var qualified: QualifiedName { QualifiedName(schema: schemaname, name: relname) }
    }
    struct Text: Decodable { var sval: String? }
    struct Number: Decodable { var ival: Int? }
    struct Constant: Decodable {
        var sval: Text?
        var ival: Number?
    }
    struct Argument: Decodable {
        var String: Text?
        var A_Const: Constant?
        var List: Items?
    }
    struct Items: Decodable { var items: [Argument] }
    struct Option: Decodable {
        var defname: String?
        var arg: Argument?
    }
    struct Options: Decodable { var DefElem: Option? }
    struct Index: Decodable {
        var idxname: String?
        var relation: Relation
        var concurrent: Bool?
        var unique: Bool?
        var if_not_exists: Bool?
    }
    struct Drop: Decodable {
        var objects: [Argument]
        var removeType: String?
        var concurrent: Bool?
    }
    struct Partition: Decodable {
        var name: Relation
        var concurrent: Bool?
    }
    struct Constraint: Decodable {
        var contype: String?
        var conname: String?
        var location: Int?
        var keys: [Argument]?
        var pktable: Relation?
        var fk_attrs: [Argument]?
        var pk_attrs: [Argument]?
        var fk_upd_action: String?
        var fk_del_action: String?
    }
    struct Constraints: Decodable { var Constraint: Constraint? }
    struct TypeName: Decodable {
        var names: [Argument]?
        var typmods: [Argument]?
        var arrayBounds: [Anything]?
        var pct_type: Bool?
    }
    struct Column: Decodable {
        var colname: String?
        var typeName: TypeName?
        var constraints: [Constraints]?
        var collClause: Place?
    }
    struct Place: Decodable { var location: Int? }
    struct Definition: Decodable {
        var PartitionCmd: Partition?
        var ColumnDef: Column?
        /// Of a table, beside its columns.
        var Constraint: Constraint?
    }
    struct Command: Decodable {
        var subtype: String?
        var name: String?
        var def: Definition?
        var missing_ok: Bool?
    }
    struct Commands: Decodable { var AlterTableCmd: Command? }
    struct Alter: Decodable {
        var relation: Relation
        var cmds: [Commands]
        var objtype: String?
    }
    struct Rename: Decodable {
        var renameType: String?
        var relation: Relation?
        var subname: String?
        var newname: String?
    }
    struct Move: Decodable {
        var objectType: String?
        var relation: Relation?
    }
    struct Parent: Decodable { var RangeVar: Relation? }
    struct Create: Decodable {
        var relation: Relation?
        var tableElts: [Definition]?
        var inhRelations: [Parent]?
        var if_not_exists: Bool?
    }
    struct CreateForeign: Decodable { var base: Create? }
    struct Into: Decodable { var rel: Relation? }
    struct CreateAs: Decodable {
        var into: Into?
        var objtype: String?
        var if_not_exists: Bool?
    }
    struct CreateSequence: Decodable {
        var sequence: Relation?
        var if_not_exists: Bool?
    }
    struct View: Decodable { var view: Relation? }
    struct AlterEnum: Decodable {
        var typeName: [Argument]
        var oldVal: String?
        var newVal: String?
    }
    struct CreateEnum: Decodable { var typeName: [Argument] }
    struct Reindex: Decodable {
        var kind: String
        var params: [Options]?
    }
    struct Vacuum: Decodable {
        var is_vacuumcmd: Bool?
        var options: [Options]?
    }
    struct Cluster: Decodable { var relation: Relation? }
    struct Copy: Decodable {
        var filename: String?
        var is_from: Bool?
        var is_program: Bool?
    }
    struct Transaction: Decodable { var kind: String }
    struct Set: Decodable {
        var kind: String?
        var name: String?
        var args: [Argument]?
        var is_local: Bool?
    }
    struct Do: Decodable { var args: [Options]? }
    struct Function: Decodable { var options: [Options]? }
    struct Language: Decodable { var plname: String? }
    struct Extension: Decodable { var extname: String? }
    struct Anything: Decodable {}

    struct Node: Decodable {
        var IndexStmt: Index?
        var DropStmt: Drop?
        var AlterTableStmt: Alter?
        var RenameStmt: Rename?
        var AlterObjectSchemaStmt: Move?
        var CreateStmt: Create?
        var CreateForeignTableStmt: CreateForeign?
        var CreateTableAsStmt: CreateAs?
        var CreateSeqStmt: CreateSequence?
        var ViewStmt: View?
        var AlterEnumStmt: AlterEnum?
        var CreateEnumStmt: CreateEnum?
        var ReindexStmt: Reindex?
        var VacuumStmt: Vacuum?
        var ClusterStmt: Cluster?
        var CopyStmt: Copy?
        var TransactionStmt: Transaction?
        var VariableSetStmt: Set?
        var DoStmt: Do?
        var CallStmt: Anything?
        var CreateFunctionStmt: Function?
        var CreatePLangStmt: Language?
        var CreateExtensionStmt: Extension?
        var LoadStmt: Anything?
        var CreatedbStmt: Anything?
        var DropdbStmt: Anything?
        var AlterDatabaseStmt: Anything?
        var CreateTableSpaceStmt: Anything?
        var DropTableSpaceStmt: Anything?
        var AlterSystemStmt: Anything?
        var CreateSubscriptionStmt: Anything?
        var DropSubscriptionStmt: Anything?
        var AlterSubscriptionStmt: Anything?
        var DiscardStmt: Anything?

        var concernsServer: Bool {
            CreatedbStmt != nil || DropdbStmt != nil || AlterDatabaseStmt != nil
                || CreateTableSpaceStmt != nil || DropTableSpaceStmt != nil
                || AlterSystemStmt != nil || CreateSubscriptionStmt != nil
                || DropSubscriptionStmt != nil || AlterSubscriptionStmt != nil
                || DiscardStmt != nil
        }
    }

    var stmts: [Entry]

    enum Outcome {
        case node(Node)
        /// It runs like any other, and there is nothing to see in its tree.
        case plain
        case refused
    }

    /// The first words of statements whose trees are looked at. The trees of long lists of rows would cost seconds.
    private static let interesting: Swift.Set<String> = [
        "CREATE", "DROP", "ALTER", "REINDEX", "VACUUM", "ANALYZE", "ANALYSE", "CLUSTER", "COPY",
        "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE",
        "SET", "RESET", "DO", "CALL", "LOAD", "DISCARD",
    ]

    static func of(_ statement: String, firstWord: String) -> Outcome {
        guard interesting.contains(firstWord) else { return .plain }
        let result = pg_query_parse(statement)
        defer { pg_query_free_parse_result(result) }
        guard result.error == nil, let json = result.parse_tree else { return .refused }
        guard
            let tree = try? JSONDecoder().decode(
                ParseTree.self, from: Data(String(cString: json).utf8)),
            let node = tree.stmts.first?.stmt
        else { return .refused }
        return .node(node)
    }
}

extension [ParseTree.Options] {
    func text(_ name: String) -> String? {
        for option in self {
            guard let element = option.DefElem, element.defname == name else { continue }
            return element.arg?.String?.sval ?? element.arg?.List?.items.first?.String?.sval
        }
        return nil
    }

    func has(_ name: String) -> Bool { contains { $0.DefElem?.defname == name } }
}

extension [ParseTree.Argument] {
    var names: [String] { compactMap { $0.String?.sval } }
}
