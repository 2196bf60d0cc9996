// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// What `sluice.migration` says has taken effect, in order of versions.
struct Ledger: Sendable {
    struct Entry: Sendable {
        var version: String
        var name: String
        var digest: String
        var phase: String
        var run: String

        var title: String { "\(version)_\(name)" }
        var number: Int { Int(version) ?? 0 }
    }

    var entries: [Entry] = []

    static let query =
        "SELECT version, name, digest, phase, run FROM sluice.migration ORDER BY version::bigint"

    init() {}

    init(_ rows: Rows) {
        entries = rows.map {
            Entry(
                version: $0.text(0), name: $0.text(1), digest: $0.text(2), phase: $0.text(3),
                run: $0.text(4))
        }
    }

    func entries(of phase: MigrationPhase, in run: RunIdentifier) -> [Entry] {
        entries.filter { $0.phase == phase.rawValue && $0.run == run.rawValue }
    }

    /// Whether a migration has been applied, or everything that it replaces.
    func contains(_ migration: Migration) -> Bool {
        if let replaces = migration.header.replaces {
            return entries.contains { $0.number == replaces.upperBound }
                || entries.contains {
                    $0.number == migration.number && $0.digest == migration.digest.hexadecimal
                }
        }
        return entries.contains { $0.number == migration.number }
    }

    func pending(_ set: MigrationSet) -> [Migration] { set.migrations.filter { !contains($0) } }

    func pending(_ phase: MigrationPhase, _ set: MigrationSet) -> [Migration] {
        pending(set).filter { $0.phase == phase }
    }

    /// Everything in which the files and the ledger disagree.
    func findings(_ set: MigrationSet) -> [Diagnostic] {
        var findings: [Diagnostic] = []
        for entry in entries {
            // Whatever its file was called, a newer one stands for it.
            let isCovered = set.migrations.contains {
                $0.header.covers(entry.number) && $0.digest.hexadecimal != entry.digest
            }
            guard let migration = set.migrations.first(where: { $0.number == entry.number }) else {
                if isCovered { continue }
                findings.append(
                    Diagnostic(
                        .error, code: "migration-missing",
                        "\(entry.title) has been applied, but its file is missing",
                        advice:
                            "put the file back as it was applied; or let a migration that is still to come say -- sluice: requires=\(entry.version), "
                            + "when it is applied everywhere"))
                continue
            }
            if migration.digest.hexadecimal != entry.digest, !isCovered {
                findings.append(
                    Diagnostic(
                        .error, code: "migration-edited",
                        at: .init(file: migration.up.file, line: 1, column: 1),
                        "\(entry.title) has been applied and was edited since",
                        advice: "put the file back as it was, and write a new migration"))
            }
        }
        findings += set.migrations.flatMap { baseline($0) }
        let last = entries.map(\.number).max() ?? -1
        var latest: Migration?
        for migration in pending(set) {
            if migration.number < last {
                findings.append(
                    Diagnostic(
                        .error, code: "migration-out-of-order",
                        at: .init(file: migration.up.file, line: 1, column: 1),
                        "\(migration.title) is not applied, but a later version is",
                        advice: "give it a version after \(last)"))
            }
            if let latest, latest.phase.order > migration.phase.order {
                findings.append(
                    Diagnostic(
                        .error, code: "migration-out-of-order",
                        at: .init(file: migration.up.file, line: 1, column: 1),
                        "\(migration.title) (\(migration.phase)) runs before \(latest.title) (\(latest.phase)), "
                            + "whose version is lower",
                        advice: "in one release, expand comes first, then switch, then contract"))
            }
            latest = migration
        }
        return findings
    }
}

extension Ledger {
    /// What a migration says of older ones has to be so.
    private func baseline(_ migration: Migration) -> [Diagnostic] {
        let position = Diagnostic.Position(file: migration.up.file, line: 1, column: 1)
        if contains(migration), migration.header.replaces == nil { return [] }
        if let last = migration.header.requires, !entries.contains(where: { $0.number == last }) {
            return [
                Diagnostic(
                    .error, code: "migration-requires", at: position,
                    "\(migration.title) requires version \(last), which has not been applied here",
                    advice: "bring this database to that version with an older release first")
            ]
        }
        guard let replaces = migration.header.replaces, !contains(migration) else { return [] }
        let some = entries.filter { replaces.contains($0.number) }
        guard let latest = some.last else { return [] }
        return [
            Diagnostic(
                .error, code: "migration-replaces", at: position,
                "\(migration.title) replaces everything up to version \(replaces.upperBound), and only \(latest.title) and those before it have been applied",
                advice:
                    "bring this database to version \(replaces.upperBound) with an older release first"
            )
        ]
    }
}

extension MigrationPhase {
    var order: Int {
        switch self {
        case .expand: 0
        case .switch: 1
        case .contract: 2
        }
    }
}
