// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import ControlAPI
import SchemaUpgrade
public import UpgradeModel
import UpgradePlan

/// PostgreSQL as a run's database worker.
public struct SchemaUpgradeWorker: DatabaseWorker {
    private let upgrade: SchemaUpgrade

    /// - Parameter environment: the coordinator's own, where the plan's `env:NAME` is looked up.
    public init(
        _ assignment: DatabaseAssignment, environment: [String: String]
    ) throws(DatabaseFailure) {
        let name = assignment.database.url.name
        guard let address = environment[name], !address.isEmpty else {
            throw DatabaseFailure(
                code: "no-address",
                "the coordinator's environment has no \(name), which the plan names",
                advice:
                    "set \(name) for the coordinator's process to the database's direct URL, and start it again"
            )
        }
        let migrations: MigrationSet
        do throws(MigrationSet.Invalid) {
            migrations = try MigrationSet.read(
                assignment.migrations.map { MigrationSet.File(name: $0.name, text: $0.text) })
        } catch {
            throw DatabaseFailure(
                code: "preflight", "the migrations are not valid: \(error)",
                findings: error.findings)
        }
        let plan = assignment.plan
        upgrade = SchemaUpgrade(
            SchemaUpgrade.Configuration(
                address: address, migrations: migrations,
                stragglers: plan.drain.stragglers == .terminate ? .terminate : .turnBack,
                drainTimeout: plan.drain.timeout, lockTimeout: assignment.database.lockTimeout,
                objectOwner: assignment.database.owner,
                trustedSuperusers: Set(assignment.database.trusted),
                mayBeInClear: assignment.database.tls == .optional))
    }

    public func perform(_ task: DatabaseTask) async -> DatabaseOutcome {
        await upgrade.perform(task)
    }
    public func cancel(_ task: DatabaseTask) async { await upgrade.cancel(task) }
    public func close() async { await upgrade.close() }
}
