// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
import UpgradeModel
import UpgradePlan

extension RunCoordinator {
    /// How long a look at a database may take.
    private static let lookLimit = Duration.seconds(20)
    /// Looks at once, of all operators: each takes a connection of the database's.
    private static let looksAtMost = 2

    /// What preflight would find in a plan's database now, for somebody who has not begun a run yet. Changes nothing.
    ///
    /// - Throws: `invalid-plan`, `refused`, and `unavailable` when others are looking.
    public func databaseFindings(
        _ question: DatabaseQuestion
    ) async throws(APIError) -> DatabaseFindings {
        guard question.planFile.utf8.count <= Limits.text else {
            throw .refused("the name of the plan's file is too long")
        }
        try requireBounds(of: question.migrations)
        let plan = try await readPlan(question.plan, file: question.planFile)
        guard !plan.databases.isEmpty else { return DatabaseFindings([]) }
        guard looks < Self.looksAtMost else {
            throw APIError(
                .unavailable, message: "\(looks) others are looking at databases",
                advice: "ask again in a few seconds")
        }
        looks += 1
        defer { looks -= 1 }
        var findings: [Diagnostic] = []
        for database in plan.databases {
            let label = plan.label(of: database)
            let assignment = DatabaseAssignment(
                run: RunIdentifier(unchecked: "look"), plan: plan, database: database,
                migrations: question.migrations.filter { $0.database == label })
            findings += await look(assignment).map { $0.naming(label) }
        }
        return DatabaseFindings(findings)
    }

    private func look(_ assignment: DatabaseAssignment) async -> [Diagnostic] {
        let makeWorker = ports.makeWorker
        let worker: any DatabaseWorker
        do throws(DatabaseFailure) {
            worker = try await WorkLane.requests.run { () throws(DatabaseFailure) in
                try makeWorker(assignment)
            }
        } catch {
            return error.asFindings
        }
        let outcome = await withTaskGroup(of: DatabaseOutcome?.self) { group in
            group.addTask { await worker.look() }
            group.addTask {
                try? await Task.sleep(for: Self.lookLimit)
                return nil
            }
            // What is slow is told to end, and then says so itself.
            let first = await group.next() ?? nil
            group.cancelAll()
            return first ?? nil
        }
        await worker.close()
        switch outcome {
        case .done(let report): return report.warnings
        case .failed(let failure): return failure.asFindings
        case nil:
            return [
                Diagnostic(
                    .warning, code: "look-too-long",
                    "the database did not answer all questions within \(Self.lookLimit.components.seconds) s",
                    advice: "a run asks them again in preflight, before anything is touched")
            ]
        }
    }
}

extension DatabaseFailure {
    /// Every finding; the failure itself where it has none.
    fileprivate var asFindings: [Diagnostic] {
        findings.isEmpty ? [Diagnostic(.error, code: code, message, advice: advice)] : findings
    }
}

extension Diagnostic {
    /// The same with the database that it was found in; as it is where the plan has one.
    fileprivate func naming(_ label: DatabaseName?) -> Diagnostic {
        guard let label else { return self }
        var copy = self
        copy.message = "\(label): \(message)"
        return copy
    }
}
