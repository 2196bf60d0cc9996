// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// What a person says was done or undone by hand: looked at first, and only then written into the ledger.
extension SchemaUpgrade {
    /// - Returns: what was believed, for the report.
    func believe(_ task: DatabaseTask) async throws -> [String] {
        guard let claims = task.claims, try await isInstalled() else { return [] }
        let undone = try migrations(claims, .undone)
        let done = try migrations(claims, .done)
        return try await strike(undone, task) + enter(done, task)
    }

    private func migrations(
        _ claims: [MigrationClaim], _ state: MigrationClaim.State
    ) throws -> [Migration] {
        let numbers = Set(claims.filter { $0.state == state }.compactMap { Int($0.version) })
        return configuration.migrations.migrations.filter { numbers.contains($0.number) }
    }

    // MARK: Undone

    /// What is undone can be applied again: that is tried, and taken back.
    private func strike(_ migrations: [Migration], _ task: DatabaseTask) async throws -> [String] {
        guard !migrations.isEmpty else { return [] }
        let entries = try await ledger().entries
        let applied = migrations.filter { migration in
            entries.contains { $0.number == migration.number && $0.run == task.run.rawValue }
        }
        let whole = applied.filter(\.up.isTransactional)
        try await tryOut(whole.map { .apply($0, $0.up) }, task, without: applied) { failure in
            unbelieved(
                failure.position.file,
                "does not look undone: its up file fails on the schema as it is: \(failure.databaseFailure.message)"
            )
        }
        for migration in migrations where !migration.up.isTransactional {
            for definition in migration.up.indexes
            where try await state(of: definition, in: migration, task) != .none {
                throw unbelieved(
                    migration.up.file, "is not undone: the index \(definition.index) is there")
            }
        }
        try await open().transaction { session in
            try session.execute(claim(task))
            for migration in migrations { try forget(migration, session) }
        }
        try await resetSession(task)
        return migrations.map {
            "\($0.title) was undone by hand" + ($0.up.isTransactional ? "" : SchemaUpgrade.partly)
        }
    }

    // MARK: Done

    /// What is done can be undone and done again, where it has a way back; where it has none, it cannot be done once more.
    private func enter(_ migrations: [Migration], _ task: DatabaseTask) async throws -> [String] {
        let ledger = try await ledger()
        let pending = migrations.filter { !ledger.contains($0) }
        for migration in pending { try await look(at: migration, task) }
        let environment = try await environment(task)
        try await open().transaction { session in
            try session.execute(claim(task))
            for migration in pending {
                try forget(migration, session)
                _ = try environment.record(.apply(migration, migration.up), 0, session)
            }
        }
        try await resetSession(task)
        return migrations.map {
            "\($0.title) was applied by hand" + ($0.up.isTransactional ? "" : SchemaUpgrade.partly)
        }
    }

    private static let partly =
        "; of statements that run outside a transaction, only indexes were looked at"

    private func look(at migration: Migration, _ task: DatabaseTask) async throws {
        guard migration.up.isTransactional else {
            for definition in migration.up.indexes
            where try await state(of: definition, in: migration, task) != .valid {
                throw unbelieved(
                    migration.up.file, "is not done: there is no valid index \(definition.index)")
            }
            return
        }
        if let down = migration.down, down.isTransactional {
            return try await tryOut(
                [.undo(migration, down), .apply(migration, migration.up)], task, without: []
            ) { failure in
                unbelieved(
                    migration.up.file,
                    "does not look done: undone and done again, it fails: \(failure.databaseFailure.message)"
                )
            }
        }
        do {
            try await tryOut([.apply(migration, migration.up)], task, without: []) { $0 }
        } catch let failure as StatementFailure {
            if failure.error.saysDone { return }
            throw unbelieved(
                migration.up.file,
                "does not look done: \(failure.databaseFailure.message)")
        }
        throw unbelieved(migration.up.file, "does not look done: its up file still goes through")
    }

    // MARK: Looking

    private struct TakenBack: Error {}

    /// Runs steps in a transaction that is rolled back.
    ///
    /// - Throws: what `explain` makes of a statement that fails; a lock that is not to be had, as it is.
    private func tryOut(
        _ steps: [Step], _ task: DatabaseTask, without struck: [Migration],
        _ explain: (StatementFailure) -> any Error
    ) async throws {
        guard !steps.isEmpty else { return }
        let environment = try await environment(task)
        do {
            try await open().transaction { session in
                try session.execute(claim(task))
                for migration in struck { try forget(migration, session) }
                _ = try environment.run(steps, session, needsCensus: false)
                throw TakenBack()
            }
        } catch is TakenBack {
            try await resetSession(task)
        } catch let failure as StatementFailure {
            if failure.error.isConnectionLost { throw failure.error }
            try await resetSession(task)
            if failure.error.isLockTimeout || failure.error.sqlState == "57014" {
                throw failure.databaseFailure
            }
            throw explain(failure)
        }
    }

    private enum IndexState { case none, valid, other }

    private func state(
        of definition: IndexDefinition, in migration: Migration, _ task: DatabaseTask
    ) async throws -> IndexState {
        guard let statement = migration.up.statements.first else { return .none }
        let lone = LoneStatement(statement: statement, surroundings: try await surroundings())
        let state = try await open().perform { session -> IndexState in
            try session.execute(lone.surroundings.entrance(isLocal: false, waitsQuietly: true))
            return switch try lone.state(of: definition, session) {
            case .none: .none
            case .valid: .valid
            case .invalid, .another: .other
            }
        }
        try await resetSession(task)
        return state
    }
}

private func forget(_ migration: Migration, _ session: borrowing Session) throws {
    for table in ["migration", "progress"] {
        try session.query(
            "DELETE FROM sluice.\(table) WHERE version::bigint = $1::bigint", [migration.version])
    }
}

private func unbelieved(_ file: String, _ what: String) -> DatabaseFailure {
    let version = file.prefix { $0 != "_" }
    return DatabaseFailure(
        code: "migration-claim", "\(version) \(what)",
        findings: [
            Diagnostic(
                .error, code: "migration-claim", at: .init(file: file, line: 1, column: 1),
                "\(version) \(what)")
        ])
}

extension Script {
    fileprivate var indexes: [IndexDefinition] {
        statements.compactMap {
            if case .createIndex(let definition) = $0.kind { definition } else { nil }
        }
    }
}

extension PostgresError {
    /// Whether a statement fails because what it makes is there, or what it takes away is gone.
    fileprivate var saysDone: Bool {
        [
            "42P07", "42701", "42710", "42P06", "42723", "42703", "42P01", "42704", "42883",
        ].contains(sqlState ?? "")
    }
}
