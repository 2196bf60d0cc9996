// SPDX-License-Identifier: Apache-2.0

internal import Files
import Synchronization

/// One session with a PostgreSQL server, on a thread of its own.
///
/// Everything that belongs together happens in one synchronous closure of ``perform(_:)``, because an actor may do other
/// things at each `await`. A session that was lost stays lost: make a new connection, and look before repeating anything.
public actor PostgresConnection {
    private let executor: QueueExecutor
    private let canceller = Mutex<Canceller?>(nil)
    private var session: Session?

    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    private init() { executor = QueueExecutor(label: "sluice.postgres") }

    /// Opens a session.
    ///
    /// - Throws: ``PostgresError/connectFailed(_:)``, never with a password in its text.
    public static func connect(_ options: ConnectionOptions) async throws(PostgresError)
        -> PostgresConnection
    {
        let connection = PostgresConnection()
        try await connection.open(options)
        return connection
    }

    /// Whether a server is there and takes no sessions yet, or any more: it replays its log after a crash, or ends.
    public static func isStarting(_ options: ConnectionOptions) async -> Bool {
        await PostgresConnection().refuses(options)
    }

    private func refuses(_ options: ConnectionOptions) -> Bool { Session.refuses(options) }

    private func open(_ options: ConnectionOptions) throws(PostgresError) {
        let opened = try Session(options)
        canceller.withLock { $0 = opened.canceller() }
        session = consume opened
    }

    /// Runs a closure with the session, on the connection's own thread; nothing else of this connection comes between.
    @discardableResult
    public func perform<Value: Sendable>(
        _ body: @Sendable (borrowing Session) throws -> Value
    ) throws -> Value {
        guard let value = try session.mapBorrowed(body) else {
            throw PostgresError.misuse("the connection is closed")
        }
        return value
    }

    /// Runs one statement with parameters `$1`, `$2`, … given as text.
    @discardableResult
    public func query(_ sql: String, _ parameters: [String?] = []) throws -> Rows {
        try perform { session in try session.query(sql, parameters) }
    }

    /// Runs a text of one or more statements; the rows are those of the last.
    @discardableResult
    public func execute(_ sql: String) throws -> Rows {
        try perform { session in try session.execute(sql) }
    }

    /// Runs a closure in a transaction: commits when it returns, rolls back when it throws.
    @discardableResult
    public func transaction<Value: Sendable>(
        _ body: @Sendable (borrowing Session) throws -> Value
    ) throws -> Value {
        try perform { session in try session.transaction(body) }
    }

    /// Asks the server to cancel the statement in flight, which then fails with `57014`. Harmless when there is none.
    ///
    /// Returns after five seconds at most, whether or not the server has answered.
    public nonisolated func cancel() async {
        await canceller.withLock { $0 }?.cancel(patience: .seconds(5))
    }

    /// Ends the session. What was not committed is rolled back.
    public func close() {
        canceller.withLock { $0 = nil }
        session = nil
    }
}

extension Optional where Wrapped: ~Copyable {
    fileprivate borrowing func mapBorrowed<Value>(_ body: (borrowing Wrapped) throws -> Value)
        rethrows -> Value?
    {
        switch self {
        case .some(let wrapped): try body(wrapped)
        case .none: nil
        }
    }
}
