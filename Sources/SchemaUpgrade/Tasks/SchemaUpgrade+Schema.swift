// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import PostgresClient
import UpgradeModel

/// Whether the application's schema is what it was before the run: looked at by preflight, compared before the first migration
/// and after everything has been undone.
///
/// A start script that migrates by itself is noticed so, and *rolled back* is not said of a schema that is another.
extension SchemaUpgrade {
    /// - Throws: `schema-changed` when somebody else has changed the schema since preflight.
    func compareBefore(_ task: DatabaseTask) async throws {
        guard task.kind == .expand, let before = task.schema, try await hasChangedNothing(task)
        else { return }
        let changes = try await changes(since: before)
        guard !changes.isEmpty else { return }
        throw DatabaseFailure(
            code: "schema-changed",
            "the schema was changed since preflight, and not by this run: \(SchemaUpgrade.few(changes))",
            advice:
                "let nothing but the migrations of the plan change the schema while a run is under way: look at what starts the new release (rollout.warm)"
        )
    }

    func compareAfter(_ task: DatabaseTask, _ report: inout DatabaseReport) async throws {
        switch task.kind {
        case .preflight:
            let fingerprint = try await fingerprint()
            let digest = fingerprint.digest
            configuration.schemas.keep(fingerprint, digest)
            report.schema = digest
        case .revertExpand, .compareSchema:
            guard let before = task.schema else { return }
            let changes = try await changes(since: before)
            report.schemaChanges = Array(changes.prefix(SchemaUpgrade.mostChanges))
            if changes.isEmpty { report.lines.append("the schema is as it was before") }
        default: break
        }
    }

    /// What the ledger says of a lost session does not say what the schema is.
    func compared(_ task: DatabaseTask, _ outcome: DatabaseOutcome) async -> DatabaseOutcome {
        guard case .done(var report) = outcome else { return outcome }
        do {
            try await compareAfter(task, &report)
            return .done(report)
        } catch {
            return .failed(failure(from: error))
        }
    }

    private static let mostChanges = 100

    private static func few(_ changes: [String]) -> String {
        let rest = changes.count - 8
        return changes.prefix(8).joined(separator: "; ") + (rest > 0 ? " and \(rest) more" : "")
    }

    func fingerprint() async throws -> SchemaFingerprint {
        let stored = try await isInstalled() ? storedRights : nil
        return try await open().perform { session in
            try SchemaFingerprint(session, stored: stored)
        }
    }

    private func changes(since before: Digest) async throws -> [String] {
        let now = try await fingerprint()
        if now.digest == before { return [] }
        // A coordinator that was started since does not know what was there, only that it was another.
        guard let known = configuration.schemas.fingerprint(before) else {
            return ["something of it; which, this coordinator does not know: it was started since"]
        }
        return now.differences(from: known)
    }

    /// Before its first migration; one that was applied part of its way has changed something.
    private func hasChangedNothing(_ task: DatabaseTask) async throws -> Bool {
        guard try await isInstalled() else { return true }
        let run = task.run.rawValue
        return try await open().query(
            """
            SELECT FROM sluice.migration WHERE run = $1
            UNION ALL SELECT FROM sluice.progress WHERE run = $1 LIMIT 1
            """, [run]
        ).isEmpty
    }
}

extension SchemaFingerprint {
    var digest: Digest { .sha256(of: lines.joined(separator: "\n")) }
}
