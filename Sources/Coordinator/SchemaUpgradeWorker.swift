// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import MigrationReader
import SchemaUpgrade
public import UpgradeModel
import UpgradePlan

/// PostgreSQL as a run's database worker.
public struct SchemaUpgradeWorker: DatabaseWorker {
    private let upgrade: SchemaUpgrade

    /// - Parameters:
    ///   - environment: the coordinator's own, where the plan's `env:NAME` is looked up.
    ///   - shelf: where what has been read before is found.
    public init(
        _ assignment: DatabaseAssignment, environment: [String: String], shelf: MigrationShelf
    ) throws(DatabaseFailure) {
        let address = try SchemaUpgradeWorker.address(
            assignment.database.url.name, "the database's", environment)
        let standby: SchemaUpgrade.Configuration.StandbyAccess?
        if let frozen = assignment.plan.frozenStandby {
            var access = SchemaUpgrade.Configuration.StandbyAccess(
                address: try SchemaUpgradeWorker.address(
                    frozen.url.name, "the standby's", environment), lag: frozen.lag,
                budget: frozen.wal, mayBeLost: assignment.plan.readsWithoutStandby == .serve)
            if let manager = frozen.manager {
                access.patroni = try SchemaUpgradeWorker.address(
                    manager.patroni.name, "Patroni's", environment)
            }
            standby = access
        } else {
            standby = nil
        }
        let migrations: MigrationSet
        do throws(MigrationSet.Invalid) {
            migrations = try shelf.set(
                of: assignment.migrations.map { MigrationSet.File(name: $0.name, text: $0.text) })
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
                statementTimeout: assignment.database.statementTimeout,
                patience: SchemaUpgradeWorker.patience(plan), owner: assignment.database.owner,
                searchPath: assignment.database.searchPath?.map { "\"\($0)\"" }.joined(
                    separator: ", "),
                trustedSuperusers: Set(assignment.database.trusted),
                mayBeInClear: assignment.database.tls == .optional,
                sparesReaders: plan.drain.readers == .leave,
                readers: Set(assignment.database.readers),
                endsOldSessions: plan.drain.sessions == .end, sessionWatch: .seconds(1),
                holdsSessions: plan.sessions?.hold != nil,
                tool: assignment.database.tool.map { SchemaUpgradeWorker.tool($0, plan) },
                level: assignment.database.fence, accepted: Set(assignment.database.accepted),
                schemas: shelf.schemas, standby: standby))
    }

    private static func address(
        _ name: String, _ whose: String, _ environment: [String: String]
    ) throws(DatabaseFailure) -> String {
        if let address = environment[name], !address.isEmpty { return address }
        throw DatabaseFailure(
            code: "no-address",
            "the coordinator's environment has no \(name), which the plan names",
            advice:
                "set \(name) for the coordinator's process to \(whose) direct URL, and start it again"
        )
    }

    private static func tool(
        _ tool: Plan.Tool, _ plan: Plan
    ) -> SchemaUpgrade.Configuration.ToolAccess {
        let kind: ToolLedger.Kind =
            switch tool.ledger {
            case .django: .django
            case .rails: .rails
            case .alembic: .alembic
            case .flyway: .flyway
            case .prisma: .prisma
            case .frappe: .frappe
            case .query(let query): .query(query)
            }
        var phases: Set<MigrationPhase> = []
        if tool.expand != nil { phases.insert(.expand) }
        if tool.contract != nil { phases.insert(.contract) }
        return SchemaUpgrade.Configuration.ToolAccess(
            ledger: ToolLedger(kind), role: tool.role, phases: phases,
            servesReads: plan.reads == .serve)
    }

    /// How long migrations are tried: until shortly before the engine stops the task, so that a failure says who was in the way.
    private static func patience(_ plan: Plan) -> [MigrationPhase: Span] {
        func most(_ phase: Phase) -> Span {
            let deadline = plan.deadline(of: phase).milliseconds
            return .milliseconds(deadline - min(2000, deadline / 10))
        }
        return [.expand: most(.stage), .switch: most(.migrate), .contract: most(.finish)]
    }

    public func perform(_ task: DatabaseTask) async -> DatabaseOutcome {
        await upgrade.perform(task)
    }
    public func look() async -> DatabaseOutcome { await upgrade.look() }
    public func cancel(_ task: DatabaseTask) async { await upgrade.cancel(task) }
    public func waits(of run: RunIdentifier) async -> [String] { await upgrade.waits(of: run) }
    public func sight(of run: RunIdentifier) async -> StandbySight? { await upgrade.sight(of: run) }
    public func progress() async -> String? { await upgrade.progress() }
    public func close() async {
        await upgrade.endWatch()
        await upgrade.close()
    }
}
