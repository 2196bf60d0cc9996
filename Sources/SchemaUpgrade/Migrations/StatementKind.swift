// SPDX-License-Identifier: Apache-2.0

import CPgQuery
import FoundationEssentials

/// Reads from the parse tree whether a statement may run in a transaction, outside one, or not at all.
enum StatementKind {
    case run(Statement.Kind)
    case refuse(message: String, advice: String)

    static func of(_ statement: String) -> StatementKind {
        let result = pg_query_parse(statement)
        defer { pg_query_free_parse_result(result) }
        guard result.error == nil, let json = result.parse_tree else {
            return .refuse(
                message: "PostgreSQL's parser refuses the statement", advice: "split the file")
        }
        let tree = String(cString: json)
        // The tree begins with the kind of the one statement: {"version":…,"stmts":[{"stmt":{"IndexStmt":{…
        let pieces = tree.prefix(200).split(
            separator: "\"", maxSplits: 8, omittingEmptySubsequences: false)
        guard pieces.count > 7, interesting.contains(String(pieces[7])) else {
            return .run(.transactional)
        }
        guard let parsed = try? JSONDecoder().decode(ParseTree.self, from: Data(tree.utf8)),
            let node = parsed.stmts.first?.stmt
        else {
            return .refuse(
                message: "the parse tree of the statement cannot be read", advice: "simplify it")
        }
        return judge(node)
    }

    /// Statements for which the tree is looked at; all others run in a transaction.
    private static let interesting: Set<String> = [
        "IndexStmt", "DropStmt", "ReindexStmt", "VacuumStmt", "AlterTableStmt", "TransactionStmt",
        "CopyStmt",
        "CreatedbStmt", "DropdbStmt", "AlterDatabaseStmt", "CreateTableSpaceStmt",
        "DropTableSpaceStmt",
        "AlterSystemStmt", "CreateSubscriptionStmt", "DropSubscriptionStmt",
        "AlterSubscriptionStmt", "ClusterStmt",
        "DiscardStmt",
    ]

    private static func judge(_ node: ParseTree.Node) -> StatementKind {
        if let index = node.IndexStmt, index.concurrent == true {
            guard let name = index.idxname else {
                return .refuse(
                    message:
                        "an index that is built concurrently needs a name, or nobody can tell whether it was built",
                    advice: "write CREATE INDEX CONCURRENTLY name ON …")
            }
            return .run(
                .createIndex(index: QualifiedName(schema: index.relation.schemaname, name: name)))
        }
        if let drop = node.DropStmt, drop.concurrent == true {
            let names = drop.objects.compactMap { $0.List?.items.compactMap { $0.String?.sval } }
            guard let parts = names.first, names.count == 1, let name = parts.last else {
                return .refuse(
                    message: "one index at a time is dropped concurrently",
                    advice: "write one statement each")
            }
            return .run(
                .dropIndex(
                    index: QualifiedName(
                        schema: parts.count > 1 ? parts[parts.count - 2] : nil, name: name)))
        }
        if let alter = node.AlterTableStmt {
            let detach = alter.cmds.compactMap { $0.AlterTableCmd?.def?.PartitionCmd }.first {
                $0.concurrent == true
            }
            guard let detach else { return .run(.transactional) }
            return .run(
                .detachPartition(table: alter.relation.qualified, partition: detach.name.qualified))
        }
        if let reindex = node.ReindexStmt {
            let isConcurrent =
                reindex.params?.contains { $0.DefElem?.defname == "concurrently" } ?? false
            let isWide = !["REINDEX_OBJECT_INDEX", "REINDEX_OBJECT_TABLE"].contains(reindex.kind)
            return .run(isConcurrent || isWide ? .repeatable : .transactional)
        }
        if let vacuum = node.VacuumStmt {
            return .run(vacuum.is_vacuumcmd == true ? .repeatable : .transactional)
        }
        if let cluster = node.ClusterStmt {
            return .run(cluster.relation == nil ? .repeatable : .transactional)
        }
        if let copy = node.CopyStmt {
            guard copy.filename == nil else { return .run(.transactional) }
            return .refuse(
                message: "COPY with data in the file is not supported",
                advice: "write the rows as INSERT … VALUES")
        }
        if let transaction = node.TransactionStmt {
            let inside = ["TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO"]
            guard !inside.contains(transaction.kind) else { return .run(.transactional) }
            return .refuse(
                message: "a migration does not begin or end transactions; that is done around it",
                advice: "remove the statement")
        }
        if node.IndexStmt != nil || node.DropStmt != nil { return .run(.transactional) }
        return .refuse(
            message:
                "this statement concerns the server, not the schema of an application, and cannot be undone",
            advice: "run it by hand, outside an upgrade")
    }
}

/// The parts of libpg_query's JSON that are looked at. The names are those of PostgreSQL's parse nodes.
private struct ParseTree: Decodable {
    struct Entry: Decodable { var stmt: Node }
    struct Relation: Decodable {
        var schemaname: String?
        var relname: String
        var qualified: QualifiedName { QualifiedName(schema: schemaname, name: relname) }
    }
    struct Index: Decodable {
        var idxname: String?
        var relation: Relation
        var concurrent: Bool?
    }
    struct Text: Decodable { var sval: String? }
    struct Item: Decodable { var String: Text? }
    struct Items: Decodable { var items: [Item] }
    struct Object: Decodable { var List: Items? }
    struct Drop: Decodable {
        var objects: [Object]
        var concurrent: Bool?
    }
    struct Partition: Decodable {
        var name: Relation
        var concurrent: Bool?
    }
    struct Definition: Decodable { var PartitionCmd: Partition? }
    struct Command: Decodable { var def: Definition? }
    struct Commands: Decodable { var AlterTableCmd: Command? }
    struct Alter: Decodable {
        var relation: Relation
        var cmds: [Commands]
    }
    struct Option: Decodable { var defname: String? }
    struct Options: Decodable { var DefElem: Option? }
    struct Reindex: Decodable {
        var kind: String
        var params: [Options]?
    }
    struct Vacuum: Decodable { var is_vacuumcmd: Bool? }
    struct Cluster: Decodable { var relation: Relation? }
    struct Copy: Decodable { var filename: String? }
    struct Transaction: Decodable { var kind: String }

    struct Node: Decodable {
        var IndexStmt: Index?
        var DropStmt: Drop?
        var AlterTableStmt: Alter?
        var ReindexStmt: Reindex?
        var VacuumStmt: Vacuum?
        var ClusterStmt: Cluster?
        var CopyStmt: Copy?
        var TransactionStmt: Transaction?
    }

    var stmts: [Entry]
}
