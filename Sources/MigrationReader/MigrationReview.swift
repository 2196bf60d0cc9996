// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What can be said about migrations before anything is touched: errors that stop a run, and what will be noticed.
///
/// Asks nobody but the files. What only a database knows is preflight's.
public enum MigrationReview {
    /// What the plan says.
    public struct Context: Sendable {
        /// Reads go on while the schema is migrated (`reads.while_migrating: serve`), so the old release meets the new schema.
        public var servesReads: Bool
        /// Only migrations after this version are news; `nil` when nobody knows what has been applied.
        public var appliedThrough: Int?

        public init(servesReads: Bool, appliedThrough: Int? = nil) {
            self.servesReads = servesReads
            self.appliedThrough = appliedThrough
        }
    }

    /// Everything to be said of the files, in their order; positions name the file without a folder.
    ///
    /// Errors are what ``MigrationSet/read(_:)`` would throw. Warnings stop nothing.
    public static func findings(in files: [MigrationSet.File], _ context: Context)
        -> [Diagnostic]
    {
        if files.isEmpty {
            return [
                Diagnostic(
                    .warning, code: "migration-none", "there is no migration in the directory",
                    advice: "name files NNNN_name.up.sql, or remove `database` from the plan")
            ]
        }
        var reader = DirectoryReader(keepsTrees: true)
        let set = reader.read(files)
        var critic = Critic(context: context)
        for migration in set.migrations
        where migration.number > context.appliedThrough ?? Int.min {
            critic.look(at: migration, reader.trees)
        }
        return (reader.findings + critic.findings).enumerated().sorted {
            let (one, other) = ($0.element.position, $1.element.position)
            return (one?.file ?? "", one?.line ?? 0, $0.offset)
                < (other?.file ?? "", other?.line ?? 0, $1.offset)
        }.map(\.element)
    }
}

/// Looks at one migration after the other.
private struct Critic {
    let context: MigrationReview.Context
    var findings: [Diagnostic] = []
    /// Tables that these migrations have created: nobody else knows them yet.
    private var created: Set<String> = []
    private var enums: Set<String> = []

    init(context: MigrationReview.Context) { self.context = context }

    private struct Reviewed {
        var phase: MigrationPhase
        var isDown: Bool
        var position: Diagnostic.Position
    }

    mutating func look(at migration: Migration, _ trees: [String: [StatementReader.Read]]) {
        var warnedTables: Set<String> = []
        for (script, isDown) in [(migration.up, false)]
            + (migration.down.map { [($0, true)] } ?? [])
        {
            var stringsAreOff = false
            for read in trees[script.file] ?? [] {
                let reviewed = Reviewed(
                    phase: migration.phase, isDown: isDown, position: read.statement.position)
                if read.statement.kind == .unknown { warnUnknown(reviewed) }
                if stringsAreOff, read.statement.text.contains("\\") { warnStrings(reviewed) }
                guard let node = read.node else { continue }
                if node.VariableSetStmt?.name == "standard_conforming_strings" {
                    stringsAreOff =
                        node.VariableSetStmt?.args?.first?.A_Const?.sval?.sval?.lowercased()
                        == "off"
                }
                review(node, reviewed, script, &warnedTables)
            }
        }
    }

    private mutating func review(
        _ node: ParseTree.Node, _ reviewed: Reviewed, _ script: Script,
        _ warnedTables: inout Set<String>
    ) {
        if !reviewed.isDown {
            if let table = node.CreateStmt?.relation ?? node.CreateTableAsStmt?.into?.rel {
                created.insert(table.relname)
            }
            if let name = node.CreateEnumStmt?.typeName.names.last { enums.insert(name) }
        }
        if let change = node.AlterEnumStmt, change.newVal != nil, change.oldVal == nil,
            let name = change.typeName.names.last, !enums.contains(name)
        {
            warnEnum(name, reviewed, script)
        }
        if let alter = node.AlterTableStmt, alter.objtype == "OBJECT_TABLE" {
            look(at: alter, reviewed)
            warnCachedPlans(alter.relation.relname, alter.cmds, reviewed, &warnedTables)
        }
        if let broken = breaks(node), !reviewed.isDown { warnBroken(broken, reviewed) }
    }

    /// What the old release would miss, in words.
    private func breaks(_ node: ParseTree.Node) -> String? {
        let relations = ["OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE"]
        if let drop = node.DropStmt, relations.contains(drop.removeType ?? "") {
            let names = drop.objects.compactMap { $0.List?.items.names.last }
                .filter { !created.contains($0) }
            return names.isEmpty ? nil : "drops \(names.joined(separator: ", "))"
        }
        if let rename = node.RenameStmt, let table = rename.relation?.relname,
            !created.contains(table), let new = rename.newname
        {
            if relations.contains(rename.renameType ?? "") { return "renames \(table) to \(new)" }
            if rename.renameType == "OBJECT_COLUMN", let column = rename.subname {
                return "renames column \(column) of \(table) to \(new)"
            }
        }
        if let move = node.AlterObjectSchemaStmt, relations.contains(move.objectType ?? ""),
            let table = move.relation?.relname, !created.contains(table)
        {
            return "moves \(table) to another schema"
        }
        if let alter = node.AlterTableStmt, !created.contains(alter.relation.relname) {
            let columns = alter.cmds.compactMap(\.AlterTableCmd).filter {
                $0.subtype == "AT_DropColumn"
            }.compactMap(\.name)
            if !columns.isEmpty {
                return
                    "drops column \(columns.joined(separator: ", ")) of \(alter.relation.relname)"
            }
        }
        return nil
    }

    private mutating func warnBroken(_ what: String, _ reviewed: Reviewed) {
        switch reviewed.phase {
        case .contract: return
        case .expand:
            warn(
                "breaks-old-release", reviewed,
                "it \(what) while the old release still reads and writes",
                "do it in a file with -- sluice: contract")
        case .switch:
            guard context.servesReads else { return }
            warn(
                "breaks-old-readers", reviewed,
                "it \(what) while the old release still reads (reads.while_migrating: serve)",
                "do it in a file with -- sluice: contract, or let the plan say reads: {while_migrating: hold}"
            )
        }
    }

    private mutating func warnCachedPlans(
        _ table: String, _ commands: [ParseTree.Commands], _ reviewed: Reviewed,
        _ warned: inout Set<String>
    ) {
        let changing = ["AT_AddColumn", "AT_DropColumn", "AT_AlterColumnType"]
        let changes = commands.contains { changing.contains($0.AlterTableCmd?.subtype ?? "") }
        guard changes, !reviewed.isDown, !created.contains(table),
            reviewed.phase != .switch || context.servesReads, warned.insert(table).inserted
        else { return }
        warn(
            "cached-plan", reviewed,
            "sessions that have prepared SELECT * of \(table) fail with 0A000 (cached plan must not change result type) when they run it again",
            "let the application name its columns, or try the statement again after 0A000, as most drivers can"
        )
    }

    private mutating func look(at alter: ParseTree.Alter, _ reviewed: Reviewed) {
        for command in alter.cmds.compactMap(\.AlterTableCmd)
        where command.subtype == "AT_AddColumn" {
            let kinds = command.def?.ColumnDef?.constraints?.compactMap(\.Constraint?.contype) ?? []
            let hasValue = kinds.contains {
                ["CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED"].contains($0)
            }
            guard kinds.contains("CONSTR_NOTNULL") || kinds.contains("CONSTR_PRIMARY"), !hasValue,
                reviewed.isDown || !created.contains(alter.relation.relname)
            else { continue }
            let column = command.def?.ColumnDef?.colname ?? "?"
            warn(
                "not-null-without-default", reviewed,
                "adding \(column) NOT NULL without a default fails as soon as \(alter.relation.relname) has a row"
                    + (reviewed.isDown ? ", and this is the way back" : ""),
                "give it a DEFAULT, or add it without NOT NULL, fill it, and set NOT NULL then")
        }
    }

    private mutating func warnEnum(_ name: String, _ reviewed: Reviewed, _ script: Script) {
        guard reviewed.phase == .switch, !reviewed.isDown else { return }
        warn(
            "enum-value", reviewed,
            "a new value of \(name) cannot be used before its transaction has ended, and all switch migrations are one",
            "add the value in a file with -- sluice: expand")
    }

    private mutating func warnUnknown(_ reviewed: Reviewed) {
        warn(
            "newer-statement", reviewed,
            "PostgreSQL \(NewerSyntax.parserVersion)'s parser does not know this statement",
            "fine when the server is newer: preflight asks it")
    }

    private mutating func warnStrings(_ reviewed: Reviewed) {
        warn(
            "migration-strings", reviewed,
            "a string with a backslash after standard_conforming_strings = off is cut here as if it were on",
            "write E'…' where a backslash is meant, and remove the setting")
    }

    private mutating func warn(
        _ code: String, _ reviewed: Reviewed, _ message: String, _ advice: String
    ) {
        findings.append(
            Diagnostic(.warning, code: code, at: reviewed.position, message, advice: advice))
    }
}
