// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import MigrationReader
internal import UpgradeModel
internal import UpgradePlan

/// The migrations of one database of a plan, read as the coordinator reads them, with PostgreSQL's own parser.
///
/// What of them is applied already only the database knows.
struct MigrationDirectory: Hashable, Sendable {
    /// `nil` where only a tool migrates.
    var path: String?
    /// The label of the database; `nil` where the plan has one.
    var database: DatabaseName?
    /// Every file, by name, by value.
    var files: [MigrationFile] = []
    /// In order; empty when a file is not valid.
    var migrations: [Migration] = []

    /// Whether a frozen standby is the way back: it has what was applied before it was frozen, and nothing else.
    var hasFrozenStandby = false

    /// What stays when a run of this plan turns back: applied before the point of no return, and without a way back.
    var cannotBeUndone: [Migration] {
        migrations.filter {
            $0.down == nil && ($0.phase == .expand || ($0.phase == .switch && !hasFrozenStandby))
        }
    }

    /// - Parameter reads: what becomes of the old release's reads while the schema is migrated; `nil` where that is not known.
    static func read(
        _ path: String?, of database: DatabaseName?, reads: Plan.Reads?,
        _ findings: inout [Diagnostic]
    ) -> MigrationDirectory {
        var directory = MigrationDirectory(
            path: path, database: database, hasFrozenStandby: reads == .standby)
        guard let path else { return directory }
        do throws(CommandFailure) {
            let names = try TextFile.names(
                in: path, what: "directory of the migrations", limit: MigrationSet.mostFiles)
            let wanted = names.filter { $0.hasSuffix(".sql") && !$0.hasPrefix(".") }
            try directory.takeFiles(wanted, path, &findings)
        } catch {
            findings.append(
                Diagnostic(
                    .error, code: "migrations", error.message,
                    advice: error.advice
                        ?? "database.migrations is relative to the plan's own directory"))
            return directory
        }
        directory.review(path, servesReads: reads == .serve, &findings)
        return directory
    }

    private mutating func takeFiles(
        _ names: [String], _ path: String, _ findings: inout [Diagnostic]
    ) throws(CommandFailure) {
        guard names.count <= Limits.migrations else {
            return findings.append(
                Diagnostic(
                    .error, code: "migrations",
                    "\(path) has \(names.count) files, the limit is \(Limits.migrations)",
                    advice: MigrationDirectory.retire))
        }
        var total = 0
        for name in names {
            let file = "\(path)/\(name)"
            let bytes = try TextFile.bytes(
                of: file, what: "migration", limit: Limits.migrationBytes)
            total += bytes.count
            guard let text = String(validating: bytes, as: UTF8.self) else {
                findings.append(
                    Diagnostic(
                        .error, code: "encoding", at: .init(file: file, line: 1, column: 1),
                        "\(name) is not UTF-8 text", advice: "save it as UTF-8"))
                continue
            }
            files.append(MigrationFile(name: name, text: text, database: database))
        }
        if total > Limits.migrationBytes {
            findings.append(
                Diagnostic(
                    .error, code: "migrations",
                    "the migrations have \(total) bytes in all, the limit is \(Limits.migrationBytes)",
                    advice: MigrationDirectory.retire))
        }
    }

    private static let retire =
        "files of releases that are done everywhere can go: a later one says `-- sluice: requires=NNNN` (docs/database.md)"

    /// What can be said without a database, each finding with the file's path.
    private mutating func review(
        _ path: String, servesReads: Bool, _ findings: inout [Diagnostic]
    ) {
        let read = files.map { MigrationSet.File(name: $0.name, text: $0.text) }
        migrations = (try? MigrationSet.read(read).migrations) ?? []
        findings += MigrationReview.findings(in: read, .init(servesReads: servesReads)).map {
            var finding = $0
            finding.position?.file = "\(path)/\($0.position?.file ?? "")"
            return finding
        }
        noteWhatStays(path, &findings)
        noteOrder(path, &findings)
    }

    private func noteWhatStays(_ path: String, _ findings: inout [Diagnostic]) {
        for migration in cannotBeUndone {
            findings.append(
                Diagnostic(
                    .warning, code: "no-way-back", at: position(of: migration, path),
                    "\(migration.title) has no down-migration: a run that applies it and fails later cannot put the schema back",
                    advice:
                        "write \(migration.title).down.sql, or be sure that it is applied already"
                ))
        }
    }

    /// Of one release, a lower number with a later phase would run after the higher one, and preflight refuses it.
    ///
    /// Which migrations are one release's only the database knows; between two releases it is how it should be. So it is a note,
    /// of the last such pair: those before it are of releases long done.
    private func noteOrder(_ path: String, _ findings: inout [Diagnostic]) {
        let pairs = Array(zip(migrations, migrations.dropFirst()))
        let order = MigrationPhase.allCases
        guard
            let (first, second) = pairs.last(where: {
                order.firstIndex(of: $0.phase) ?? 0 > order.firstIndex(of: $1.phase) ?? 0
            })
        else { return }
        findings.append(
            Diagnostic(
                .note, code: "migration-out-of-order", at: position(of: second, path),
                "\(second.title) (\(second.phase.rawValue)) has a higher number than \(first.title) (\(first.phase.rawValue)), "
                    + "and would run before it: preflight refuses that when neither is applied yet",
                advice:
                    "in one release, number them expand, switch, contract; nothing to do when \(first.title) is applied already"
            ))
    }

    private func position(of migration: Migration, _ path: String) -> Diagnostic.Position {
        Diagnostic.Position(file: "\(path)/\(migration.up.file)", line: 1, column: 1)
    }
}

extension [MigrationDirectory] {
    /// Every file, by database and name.
    var files: [MigrationFile] { flatMap(\.files) }

    /// The titles of what stays when a run turns back, with the database where there are several.
    var cannotBeUndone: [String] {
        flatMap { directory in
            directory.cannotBeUndone.map { migration in
                directory.database.map { "\($0)/\(migration.title)" } ?? migration.title
            }
        }
    }
}
