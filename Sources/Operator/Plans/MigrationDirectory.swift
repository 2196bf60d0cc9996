// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import UpgradeModel
internal import UpgradePlan

/// The migrations of a plan: their files, and what names and headers say of them.
///
/// Their statements are read by the coordinator, with PostgreSQL's own parser; which of them are applied already
/// only the database knows.
struct MigrationDirectory: Hashable, Sendable {
    struct Migration: Hashable, Sendable {
        var version: String
        var moment: MigrationName.Moment
        var canBeUndone: Bool
    }

    /// `nil` when the plan has no database.
    var path: String?
    /// Every file, in order, by value.
    var files: [MigrationFile] = []
    var migrations: [Migration] = []

    /// What stays when a run of this plan turns back: applied before the point of no return, and without a way back.
    var cannotBeUndone: [Migration] {
        migrations.filter { !$0.canBeUndone && $0.moment != .contract }
    }

    static func read(_ path: String?, _ findings: inout [Diagnostic]) -> MigrationDirectory {
        var directory = MigrationDirectory(path: path)
        guard let path else { return directory }
        do throws(CommandFailure) {
            let names = try TextFile.names(
                in: path, what: "directory of the migrations", limit: 10_000)
            try directory.take(
                names.filter { $0.hasSuffix(".sql") && !$0.hasPrefix(".") }, path, &findings)
        } catch {
            findings.append(
                Diagnostic(
                    .error, code: "migrations", error.message,
                    advice: error.advice
                        ?? "database.migrations is relative to the plan's own directory"))
        }
        return directory
    }

    private mutating func take(
        _ names: [String], _ path: String, _ findings: inout [Diagnostic]
    ) throws(CommandFailure) {
        var parsed: [MigrationName] = []
        for name in names {
            if let migration = MigrationName(file: name) {
                parsed.append(migration)
            } else {
                findings.append(
                    Diagnostic(
                        .error, code: "migration-name", at: place("\(path)/\(name)"),
                        "\(name) is not the name of a migration",
                        advice: "call it NNNN_name.up.sql or NNNN_name.down.sql, or move it away"))
            }
        }
        guard parsed.count <= Limits.migrations else {
            return findings.append(
                Diagnostic(
                    .error, code: "migrations",
                    "\(path) has \(parsed.count) files, the limit is \(Limits.migrations)",
                    advice: "move those that are applied everywhere to another directory"))
        }
        parsed.sort()
        checkPairs(parsed, path, &findings)
        var total = 0
        for name in parsed {
            let file = "\(path)/\(name)"
            let bytes = try TextFile.bytes(
                of: file, what: "migration", limit: Limits.migrationBytes)
            total += bytes.count
            guard let text = String(validating: bytes, as: UTF8.self) else {
                findings.append(
                    Diagnostic(
                        .error, code: "encoding", at: place(file), "\(name) is not UTF-8 text",
                        advice: "save it as UTF-8"))
                continue
            }
            files.append(MigrationFile(name: "\(name)", text: text))
            guard name.direction == .up else { continue }
            let hasDown = parsed.contains { $0.version == name.version && $0.direction == .down }
            switch MigrationName.moment(inHeaderOf: text) {
            case .success(let moment):
                migrations.append(
                    Migration(version: name.version, moment: moment, canBeUndone: hasDown))
            case .failure(let wrong):
                findings.append(
                    Diagnostic(
                        .error, code: "migration-header", at: place(file, line: wrong.line),
                        wrong.isSecond
                            ? "the header says twice when the migration runs"
                            : "the header says `\(wrong.word)`, which is no moment of a run",
                        advice: "write one of `-- sluice: expand`, `switch` or `contract`"))
            }
        }
        if total > Limits.migrationBytes {
            findings.append(
                Diagnostic(
                    .error, code: "migrations",
                    "the migrations have \(total) bytes in all, the limit is \(Limits.migrationBytes)"
                ))
        }
        noteWhatStays(path, &findings)
        noteOrder(path, &findings)
    }

    private func checkPairs(
        _ names: [MigrationName], _ path: String, _ findings: inout [Diagnostic]
    ) {
        let ups = names.filter { $0.direction == .up }
        for (first, second) in zip(ups, ups.dropFirst()) where first.place == second.place {
            findings.append(
                Diagnostic(
                    .error, code: "migration-number", at: place("\(path)/\(second)"),
                    "\(second) has the number of \(first)",
                    advice: "give each migration a number of its own"))
        }
        for name in names
        where name.direction == .down && !ups.contains(where: { $0.version == name.version }) {
            findings.append(
                Diagnostic(
                    .error, code: "migration-pair", at: place("\(path)/\(name)"),
                    "\(name) undoes a migration that is not there",
                    advice: "add \(name.version).up.sql, or remove it"))
        }
    }

    private func noteWhatStays(_ path: String, _ findings: inout [Diagnostic]) {
        for migration in cannotBeUndone {
            findings.append(
                Diagnostic(
                    .warning, code: "no-way-back", at: place("\(path)/\(migration.version).up.sql"),
                    "\(migration.version) has no down-migration: a run that applies it and fails later cannot put the schema back",
                    advice:
                        "write \(migration.version).down.sql, or be sure that it is applied already"
                ))
        }
    }

    /// Of one release, a lower number with a later moment would run after the higher one, and preflight refuses it.
    ///
    /// Which migrations are one release's only the database knows; between two releases it is how it should be. So it is a note,
    /// of the last such pair: those before it are of releases long done.
    private func noteOrder(_ path: String, _ findings: inout [Diagnostic]) {
        let pairs = Array(zip(migrations, migrations.dropFirst()))
        guard let (first, second) = pairs.last(where: { $0.moment.place > $1.moment.place }) else {
            return
        }
        findings.append(
            Diagnostic(
                .note, code: "migration-out-of-order",
                at: place("\(path)/\(second.version).up.sql"),
                "\(second.version) (\(second.moment.rawValue)) has a higher number than \(first.version) (\(first.moment.rawValue)), "
                    + "and would run before it: preflight refuses that when neither is applied yet",
                advice:
                    "in one release, number them expand, switch, contract; nothing to do when \(first.version) is applied already"
            ))
    }

    private func place(_ file: String, line: Int = 1) -> Diagnostic.Place {
        Diagnostic.Place(file: file, line: line, column: 1)
    }
}

extension MigrationName.Moment {
    /// In a run, the lower first.
    fileprivate var place: Int {
        switch self {
        case .expand: 0
        case .switch: 1
        case .contract: 2
        }
    }
}
