// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
public import Coordinator
public import UpgradeEngine
public import UpgradeModel

/// What the routes ask of a coordinator.
public protocol FleetControl: Sendable {
    var health: Health { get async }
    func directive(for node: NodeName, _ query: DirectiveQuery) async throws(APIError) -> Directive?
    func report(_ status: NodeStatus, from node: NodeName) async throws(APIError) -> StatusReceipt
    func nodes() async throws(APIError) -> [NodeView]
    func start(_ request: StartRun, by name: OperatorName) async throws(APIError) -> RunView
    func databaseFindings(_ question: DatabaseQuestion) async throws(APIError) -> DatabaseFindings
    func request(
        _ request: RunRequest, of run: RunIdentifier, by name: OperatorName
    ) async throws(APIError) -> RunView
    func view(of run: RunIdentifier) async throws(APIError) -> RunView
    func summaries() async throws(APIError) -> [RunSummary]
    func journal(of run: RunIdentifier) async throws(APIError) -> RunJournal
    func changes(of run: RunIdentifier) -> AsyncStream<Void>
    func facts(of run: RunIdentifier, after version: Int64) async throws(APIError) -> [JournalEntry]
    func news(of run: RunIdentifier, after version: Int64) async throws(APIError)
        -> RunCoordinator.News
}

extension RunCoordinator: FleetControl {}
