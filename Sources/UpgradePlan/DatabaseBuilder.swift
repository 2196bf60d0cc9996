// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// One database of a document: `database`, or a name under `databases`.
struct DatabaseSection {
    let name: DatabaseName
    /// What its keys are read from.
    let values: DocumentValues
    /// Before each of its keys: `database.` in the document itself, nothing in a section of its own.
    let prefix: String
    /// The key of the document that it stands under.
    let key: String
    let position: Diagnostic.Position

    func path(_ key: String) -> String { prefix + key }
    /// Which of several is meant, for people.
    var suffix: String { key == "database" ? "" : " of \(name)" }
}

extension DocumentValues {
    /// In the order in which they migrate.
    var databases: [DatabaseSection] {
        let one =
            isPresent("database")
            ? [
                DatabaseSection(
                    name: .default, values: self, prefix: "database.", key: "database",
                    position: position(of: "database"))
            ] : []
        return one
            + (named("databases") ?? []).compactMap { entry in
                DatabaseName(rawValue: entry.name).map {
                    DatabaseSection(
                        name: $0, values: entry.values, prefix: "", key: "databases",
                        position: entry.values.position)
                }
            }
    }

    /// Whether the document means to have one, whatever is wrong with it.
    var hasDatabase: Bool { isPresent("database") || isPresent("databases") }
}

/// Makes one database of a plan from values that were found to be without error.
struct DatabaseBuilder {
    let section: DatabaseSection
    private var values: DocumentValues { section.values }

    /// - Returns: `nil` when a value is missing after all: a fault of the table or of the checks.
    func build() -> Plan.Database? {
        let path = section.path
        guard let url = values.text(path("url")).flatMap(EnvironmentReference.init(text:)),
            values.isPresent(path("migrate_with")) == (tool != nil),
            values.isPresent(path("migrations")) || tool != nil,
            values.isPresent(path("standby")) == (standby != nil),
            values.isPresent(path("leave_out_with")) == (leaveOut != nil),
            let lockTimeout = values.span(path("lock_timeout")),
            let trusted = values.list(path("trusted")),
            let readers = values.list(path("readers")),
            let tls = values.text(path("tls")).flatMap(Plan.Database.TransportRule.init),
            let fence = values.text(path("fence")).flatMap(FenceLevel.init),
            let accepted = values.list(path("accepts"))
        else { return nil }
        return Plan.Database(
            name: section.name, url: url, migrations: values.text(path("migrations")),
            lockTimeout: lockTimeout, statementTimeout: values.span(path("statement_timeout")),
            owner: values.text(path("owner")),
            searchPath: values.list(path("search_path"))?.map(\.text),
            trusted: trusted.map(\.text), readers: readers.map(\.text), tls: tls,
            tool: tool, fence: fence,
            accepted: Set(accepted.compactMap { FenceGap(rawValue: $0.text) }),
            standby: standby, leaveOut: leaveOut)
    }

    private var leaveOut: Plan.Database.LeaveOut? {
        func action(_ name: String) -> ActionName? {
            values.name(section.path("leave_out_with.\(name)"), as: ActionName.self)
        }
        guard let close = action("close"), let open = action("open") else { return nil }
        return Plan.Database.LeaveOut(close: close, open: open)
    }

    private var standby: Plan.Database.Standby? {
        func key(_ name: String) -> String { section.path("standby.\(name)") }
        guard values.isPresent(section.path("standby")),
            let url = values.text(key("url")).flatMap(EnvironmentReference.init(text:)),
            let lag = values.span(key("lag")),
            let wal = values.text(key("wal")).flatMap(ByteCount.read)
        else { return nil }
        let patroni = values.text(key("manager.patroni"))
            .flatMap(EnvironmentReference.init(text:))
        guard values.isPresent(key("manager")) == (patroni != nil) else { return nil }
        return Plan.Database.Standby(
            url: url, lag: lag, wal: wal,
            manager: patroni.map { Plan.Database.ClusterManager(patroni: $0) })
    }

    private var tool: Plan.Tool? {
        func key(_ name: String) -> String { section.path("migrate_with.\(name)") }
        guard let action = values.name(key("run"), as: ActionName.self), let ledger,
            let onPartly = values.text(key("on_partly")).flatMap(Plan.Tool.OnPartly.init)
        else { return nil }
        return Plan.Tool(
            action: action, node: values.name(key("node"), as: NodeName.self), ledger: ledger,
            revert: values.name(key("revert_with"), as: ActionName.self),
            expand: values.name(key("expand_with"), as: ActionName.self),
            contract: values.name(key("contract_with"), as: ActionName.self),
            preview: values.name(key("preview_with"), as: ActionName.self),
            onPartly: onPartly, role: values.text(key("role")),
            timeout: values.span(key("timeout")))
    }

    private var ledger: Plan.Tool.Ledger? {
        if let query = values.text(section.path("migrate_with.ledger_query")) {
            return .query(query)
        }
        let word = values.text(section.path("migrate_with.ledger"))
        return Plan.Tool.Ledger.words.first { $0.0 == word }?.1
    }
}
