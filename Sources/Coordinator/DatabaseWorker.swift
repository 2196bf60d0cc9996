// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
public import UpgradeModel
public import UpgradePlan

/// Whoever performs the tasks of one database of a run, one at a time.
public protocol DatabaseWorker: Sendable {
    /// Each task is safe to perform again; whatever happened is in the outcome. Ends soon when the calling task is cancelled.
    func perform(_ task: DatabaseTask) async -> DatabaseOutcome
    /// Ends a task as soon as possible; `perform` then says how it ended. Does nothing to any other task, and may come before
    /// `perform` does.
    func cancel(_ task: DatabaseTask) async
    /// What preflight would say now, to be asked before any run. Changes nothing; ends soon when the calling task is cancelled.
    func look() async -> DatabaseOutcome
    /// Whom the task under way and the run's migration tool wait for at this moment, a line each, for people. May be asked beside a
    /// task; ends soon.
    func waits(of run: RunIdentifier) async -> [String]
    /// How far the task under way has come, for people; `nil` where that is not known. May be asked beside a task; ends soon.
    func progress() async -> String?
    /// What is to be seen of the frozen standby of a run at this moment; `nil` where nobody could look. May be asked beside a task; ends
    /// soon.
    func sight(of run: RunIdentifier) async -> StandbySight?
    /// The run has ended: lets connections go.
    func close() async
}

extension DatabaseWorker {
    public func progress() async -> String? { nil }
    public func sight(of run: RunIdentifier) async -> StandbySight? { nil }
}

/// What a run's worker is made from.
public struct DatabaseAssignment: Sendable {
    public var run: RunIdentifier
    public var plan: Plan
    public var database: Plan.Database
    /// The migration files in order.
    public var migrations: [MigrationFile]
}

/// Makes a run's worker; fails when, for example, the environment does not have the database's URL.
public typealias MakeDatabaseWorker =
    @Sendable (DatabaseAssignment) throws(DatabaseFailure) -> any DatabaseWorker
