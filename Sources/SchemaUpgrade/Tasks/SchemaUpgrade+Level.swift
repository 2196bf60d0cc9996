// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// How much this run's fence holds, and what the plan accepts that it does not.
extension SchemaUpgrade {
    /// A superuser holds everything; whoever is none holds what the plan asks for, or preflight fails.
    var level: FenceLevel { isComplete ? .complete : configuration.level }

    /// How rights are read that a fence has taken. What was taken by `REVOKE` keeps no role from being dropped.
    var storedRights: String {
        !isComplete && installation == .current
            ? "sluice.of_living_roles(s.before)" : SchemaFingerprint.storedRights
    }

    /// A gap that the plan accepts is a warning.
    func judged(_ finding: Diagnostic) -> Diagnostic {
        guard level == .owner, finding.severity == .error,
            let gap = FenceGap(rawValue: finding.code)
        else { return finding }
        let isAccepted = configuration.accepted.contains(gap)
        let acceptance = "or let the plan accept it: database: {accepts: [\(gap.rawValue)]}"
        return Diagnostic(
            isAccepted ? .warning : .error, code: finding.code, at: finding.position,
            (isAccepted ? "not held, as the plan accepts: " : "") + finding.message,
            advice: isAccepted
                ? finding.advice
                : [finding.advice, acceptance].compactMap(\.self).joined(separator: "; "))
    }

    /// Without event triggers, nothing tells Sluice what the tool grants and makes, so no sequence is closed while it runs, and
    /// no new table has its trigger before it has ended.
    func toolGaps() -> [Diagnostic] {
        guard level == .owner, configuration.tool != nil else { return [] }
        return [
            Diagnostic(
                .error, code: FenceGap.sequences.rawValue,
                "while the migration tool runs, whoever may draws numbers from sequences"),
            Diagnostic(
                .error, code: FenceGap.definitions.rawValue,
                "while the migration tool runs, the tables that it makes have no trigger: whoever gets rights on them writes there",
                advice: "let no default privileges open them"),
        ]
    }

    /// What is to be said of a fence of level `owner`; nothing where it holds everything.
    func levelLines() -> [String] {
        guard level == .owner else {
            return configuration.level == .owner
                ? ["the migrator is a superuser, so the fence holds everything"] : []
        }
        let words = FenceGap.allCases.filter(configuration.accepted.contains).map(\.rawValue)
        return [
            "the fence is one of level owner; the plan accepts that it does not hold: "
                + (words.isEmpty ? "nothing" : words.joined(separator: ", "))
        ]
    }

    /// Sequences whose rights cannot be given back, because they belong to somebody else by now.
    func sequencesGivenAway() async throws -> [String] {
        guard level == .owner else { return [] }
        return try await open().query(
            """
            SELECT format('sequence %s belongs to %s now, so its rights could not be given back: %s', c.oid::regclass,
                c.relowner::regrole, coalesce(array_to_string(s.before, ', '), 'those of its owner alone'))
            FROM sluice.stored AS s JOIN pg_class AS c ON c.oid = s.object
            WHERE s.kind = 'relation' AND NOT sluice.is_ours(c.relowner) ORDER BY 1 LIMIT 20
            """
        ).map { $0.text(0) }
    }

    /// Tables that have lost their trigger while the fence is up. Where event triggers watch over definitions there is none.
    func tablesWithoutTrigger() async throws -> [String] {
        guard level == .owner else { return [] }
        return try await open().query(
            "SELECT oid::regclass::text FROM sluice.unfenced_table ORDER BY 1 LIMIT 20"
        ).map { $0.text(0) }
    }

    /// - Throws: `fence-down` when somebody has taken the trigger from a table, or made one: nobody knows what was written there.
    func refuseTablesWithoutTrigger() async throws {
        guard level == .owner, try await fenceState()?.state == "up" else { return }
        let tables = try await tablesWithoutTrigger()
        if tables.isEmpty { return }
        throw DatabaseFailure(
            code: "fence-down",
            "while the fence was up, somebody made these tables or took the trigger from them: \(tables.joined(separator: ", "))",
            advice:
                "see what was written there and who changes definitions"
        )
    }
}
