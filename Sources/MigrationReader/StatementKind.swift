// SPDX-License-Identifier: Apache-2.0

/// What the parse tree says about how a statement may run: in a transaction, outside one, or not at all.
enum StatementKind {
    case run(Statement.Kind)
    case refuse(message: String, advice: String)

    static func of(_ statement: String, _ outcome: ParseTree.Outcome) -> StatementKind {
        switch outcome {
        case .plain: .run(.transactional)
        case .refused:
            .refuse(
                message: "PostgreSQL's parser refuses the statement", advice: "split the file")
        case .node(let node): judge(node, statement)
        }
    }

    private static func judge(_ node: ParseTree.Node, _ statement: String) -> StatementKind {
        if let index = node.IndexStmt, index.concurrent == true {
            return createIndex(index, statement)
        }
        if let drop = node.DropStmt, drop.concurrent == true { return dropIndex(drop) }
        if let alter = node.AlterTableStmt {
            let detach = alter.cmds.compactMap { $0.AlterTableCmd?.def?.PartitionCmd }.first {
                $0.concurrent == true
            }
            guard let detach else { return .run(.transactional) }
            return .run(
                .detachPartition(table: alter.relation.qualified, partition: detach.name.qualified))
        }
        if let reindex = node.ReindexStmt {
            let isConcurrent = reindex.params?.has("concurrently") ?? false
            let isWide = !["REINDEX_OBJECT_INDEX", "REINDEX_OBJECT_TABLE"].contains(reindex.kind)
            return .run(
                isConcurrent || isWide ? .repeatable(isQuiet: isConcurrent) : .transactional)
        }
        if let vacuum = node.VacuumStmt {
            guard vacuum.is_vacuumcmd == true else { return .run(.transactional) }
            return .run(.repeatable(isQuiet: vacuum.options?.has("full") != true))
        }
        if let cluster = node.ClusterStmt {
            return .run(cluster.relation == nil ? .repeatable(isQuiet: false) : .transactional)
        }
        if let copy = node.CopyStmt { return judge(copy) }
        if let transaction = node.TransactionStmt { return judge(transaction) }
        if let set = node.VariableSetStmt { return judge(set) }
        if node.DoStmt != nil || node.CallStmt != nil { return .run(.block) }
        if let refused = server(node) { return refused }
        return .run(.transactional)
    }

    private static func createIndex(_ index: ParseTree.Index, _ statement: String)
        -> StatementKind
    {
        guard let definition = definition(index, statement) else {
            return .refuse(
                message:
                    "an index that is built concurrently needs a name, or nobody can tell whether it was built",
                advice: "write CREATE INDEX CONCURRENTLY name ON …")
        }
        return .run(.createIndex(definition))
    }

    /// - Returns: `nil` when the index has no name.
    static func definition(_ index: ParseTree.Index, _ statement: String) -> IndexDefinition? {
        guard let name = index.idxname, let probing = probing(index, statement) else { return nil }
        return IndexDefinition(
            index: QualifiedName(schema: index.relation.schemaname, name: name),
            table: index.relation.qualified, probing: probing)
    }

    /// The statement for the probe's table, without `CONCURRENTLY` and `IF NOT EXISTS`.
    private static func probing(_ index: ParseTree.Index, _ statement: String) -> String? {
        let bytes = Array(statement.utf8)
        guard let start = index.relation.location, start < bytes.count else { return nil }
        var end = start
        for part in 0..<(index.relation.schemaname == nil ? 1 : 2) {
            if part > 0 {
                end = SQLText.skipBlanks(bytes, end..<bytes.count)
                guard end < bytes.count, bytes[end] == UInt8(ascii: ".") else { return nil }
                end = SQLText.skipBlanks(bytes, (end + 1)..<bytes.count)
            }
            end = SQLText.endOfIdentifier(bytes, end)
        }
        let rest = String(decoding: bytes[end...], as: UTF8.self)
        return "CREATE \(index.unique == true ? "UNIQUE " : "")INDEX \"sluice probe index\" ON "
            + IndexDefinition.probe + rest
    }

    private static func dropIndex(_ drop: ParseTree.Drop) -> StatementKind {
        let names = drop.objects.compactMap { $0.List?.items.names }
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

    private static func judge(_ copy: ParseTree.Copy) -> StatementKind {
        if copy.is_program == true {
            return .refuse(
                message: "COPY with PROGRAM runs a program on the database server",
                advice: "run it by hand, outside an upgrade")
        }
        if copy.filename != nil {
            return .refuse(
                message: "COPY with a file reads or writes files of the database server",
                advice: "write the rows as INSERT … VALUES, or run it by hand")
        }
        return .refuse(
            message: "COPY with data in the file is not supported",
            advice: "write the rows as INSERT … VALUES; pg_dump --inserts does")
    }

    private static func judge(_ transaction: ParseTree.Transaction) -> StatementKind {
        let inside = ["TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO"]
        guard !inside.contains(transaction.kind) else { return .run(.transactional) }
        return .refuse(
            message: "a migration does not begin or end transactions; that is done around it",
            advice: "remove the statement")
    }

    private static func judge(_ set: ParseTree.Set) -> StatementKind {
        switch set.name?.lowercased() {
        case "session_authorization":
            return .refuse(
                message: "a migration does not change who is logged in",
                advice: "remove the statement; the plan's database.owner says whose migrations are")
        case "transaction":
            return .refuse(
                message:
                    "a migration does not choose the mode of its transaction, which others share",
                advice: "remove the statement")
        default: return .run(.transactional)
        }
    }

    private static func server(_ node: ParseTree.Node) -> StatementKind? {
        if node.concernsServer {
            return .refuse(
                message:
                    "this statement concerns the server, not the schema of an application, and cannot be undone",
                advice: "run it by hand, outside an upgrade")
        }
        let language =
            node.CreateFunctionStmt?.options?.text("language") ?? node.CreatePLangStmt?.plname
            ?? node.CreateExtensionStmt?.extname
        if node.LoadStmt != nil || language.map(isUntrusted) == true {
            return .refuse(
                message:
                    "this statement brings code into the database server (\(language ?? "LOAD"))",
                advice: "let the administrator of the server run it, outside an upgrade")
        }
        return nil
    }

    /// Languages whose functions may do whatever the server's process may.
    private static func isUntrusted(_ language: String) -> Bool {
        let language = language.lowercased()
        return [
            "c", "internal", "plpython2u", "plpython3u", "plpythonu", "plperlu", "pltclu",
            "plsh", "plr", "plrustu", "pljavau",
        ].contains(language)
    }
}
