// SPDX-License-Identifier: Apache-2.0

import CPostgres

/// An open session, used synchronously inside ``PostgresConnection/perform(_:)``.
///
/// Owns the `PGconn` and closes it when it goes away.
public struct Session: ~Copyable {
    // SAFETY: made in init, used only through this value, which one actor holds; PQfinish runs exactly once, in deinit.
    private let handle: OpaquePointer
    private let secrets: [String]
    private let receiver: NoticeReceiver

    init(_ options: ConnectionOptions) throws(PostgresError) {
        let secrets = try options.secrets()
        let parameters = options.parameters
        let connected = withCStrings(parameters.map(\.keyword)) { keywords in
            withCStrings(parameters.map(\.value)) { values in PQconnectdbParams(keywords, values, 1)
            }
        }
        guard let connected else { throw .connectFailed("out of memory") }
        guard PQstatus(connected) == CONNECTION_OK else {
            let reason = redacted(String(cString: PQerrorMessage(connected)), secrets)
            PQfinish(connected)
            throw .connectFailed(reason)
        }
        handle = connected
        self.secrets = secrets
        receiver = NoticeReceiver(secrets)
        // libpq would print notices to standard error.
        // SAFETY: the receiver lives as long as this value, whose deinit ends the connection that calls it.
        PQsetNoticeReceiver(
            connected, receive, Unmanaged.passUnretained(receiver).toOpaque())
    }

    deinit { PQfinish(handle) }

    /// Whether a server answers that it takes no sessions now, in whatever language it says so.
    static func refuses(_ options: ConnectionOptions) -> Bool {
        let parameters = options.parameters
        return withCStrings(parameters.map(\.keyword)) { keywords in
            withCStrings(parameters.map(\.value)) { values in
                PQpingParams(keywords, values, 1) == PQPING_REJECT
            }
        }
    }

    /// The server process behind this session, as the handshake said. A pooler makes one up.
    public var processIdentifier: Int32 { PQbackendPID(handle) }

    /// The server's version as PostgreSQL counts: 150018 is 15.18.
    public var serverVersion: Int32 { PQserverVersion(handle) }

    /// Whether what is sent travels encrypted.
    public var isEncrypted: Bool { PQsslInUse(handle) == 1 }

    /// Whether the server is on this machine: a Unix socket, or an address of the loopback network.
    public var isLocal: Bool {
        let host = PQhost(handle).map { String(cString: $0) } ?? ""
        let address = PQhostaddr(handle).map { String(cString: $0) } ?? ""
        return host.hasPrefix("/") || host.hasPrefix("@") || address.hasPrefix("127.")
            || address == "::1" || address.isEmpty
    }

    /// Whether a transaction is open, be it healthy or aborted.
    public var isInTransaction: Bool {
        let status = PQtransactionStatus(handle)
        return status == PQTRANS_INTRANS || status == PQTRANS_INERROR
    }

    /// Runs one statement with parameters `$1`, `$2`, … given as text.
    @discardableResult
    public func query(_ sql: String, _ parameters: [String?] = []) throws(PostgresError) -> Rows {
        try refuseZeroBytes([sql] + parameters.compactMap { $0 })
        let result = withCStrings(parameters) { values in
            PQexecParams(handle, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
        return try rows(of: result)
    }

    /// Runs a text of one or more statements without parameters; the rows are those of the last.
    ///
    /// Several statements outside a transaction make one transaction, as PostgreSQL's simple query protocol has it.
    @discardableResult
    public func execute(_ sql: String) throws(PostgresError) -> Rows {
        try refuseZeroBytes([sql])
        return try rows(of: PQexec(handle, sql))
    }

    /// The same, and adds to `notices` what the server says meanwhile, as far as `client_min_messages` lets it.
    @discardableResult
    public func execute(
        _ sql: String, hearing notices: inout ServerNotices
    ) throws(PostgresError) -> Rows {
        receiver.heard = notices
        defer {
            if let heard = receiver.heard { notices = heard }
            receiver.heard = nil
        }
        return try execute(sql)
    }

    /// Runs a closure in a transaction: commits when it returns, rolls back when it throws.
    @discardableResult
    public func transaction<Value>(_ body: (borrowing Session) throws -> Value) throws -> Value {
        try execute("BEGIN")
        let value: Value
        do {
            value = try body(self)
        } catch {
            // A session that is gone has rolled back by itself.
            if isInTransaction { _ = try? execute("ROLLBACK") }
            throw error
        }
        // COMMIT of an aborted transaction rolls back and reports success.
        guard PQtransactionStatus(handle) == PQTRANS_INTRANS else {
            if isInTransaction { try execute("ROLLBACK") }
            throw PostgresError.misuse("the transaction was ended or aborted by its own statements")
        }
        try execute("COMMIT")
        return value
    }

    /// A handle that can cancel the statement in flight from another thread.
    func canceller() -> Canceller? { PQgetCancel(handle).map(Canceller.init) }

    private func refuseZeroBytes(_ texts: [String]) throws(PostgresError) {
        if texts.contains(where: { $0.utf8.contains(0) }) {
            throw .misuse("PostgreSQL takes no text with a zero byte")
        }
    }

    private func rows(of result: OpaquePointer?) throws(PostgresError) -> Rows {
        guard let result else { throw lost(nil) }
        defer { PQclear(result) }
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
            return Rows(result)
        case PGRES_COPY_IN:
            PQputCopyEnd(handle, "COPY from a client is not supported")
            drain()
            throw .misuse("COPY … FROM STDIN is not supported; use INSERT")
        case PGRES_COPY_OUT:
            var buffer: UnsafeMutablePointer<CChar>?
            while PQgetCopyData(handle, &buffer, 0) > 0 { PQfreemem(buffer) }
            drain()
            throw .misuse("COPY … TO STDOUT is not supported; use SELECT")
        default:
            let error = ServerError(result, secrets)
            if PQstatus(handle) == CONNECTION_BAD { throw lost(error) }
            // Said by libpq itself: it could not send to a server that has just ended, and has not read yet that it has.
            guard let error else { throw lost(nil) }
            throw .server(error)
        }
    }

    private func drain() {
        while let next = PQgetResult(handle) { PQclear(next) }
    }

    private func lost(_ last: ServerError?) -> PostgresError {
        .connectionLost(redacted(String(cString: PQerrorMessage(handle)), secrets), last: last)
    }
}

/// The texts as an array of C strings that ends with a null, valid during the call.
private func withCStrings<Value>(
    _ texts: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Value
) -> Value {
    var bytes: [CChar] = []
    let offsets = texts.map { text -> Int? in
        guard let text else { return nil }
        defer { bytes.append(contentsOf: text.utf8CString) }
        return bytes.count
    }
    // SAFETY: the pointers lead into `bytes`, which is not touched while the body runs.
    return bytes.withUnsafeBufferPointer { storage in
        let pointers =
            offsets.map { offset in offset.flatMap { storage.baseAddress?.advanced(by: $0) } } + [
                nil
            ]
        return pointers.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else {
                preconditionFailure("the array has at least its null")
            }
            return body(start)
        }
    }
}

/// Called by libpq with each notice, while a statement is under way.
private func receive(_ context: UnsafeMutableRawPointer?, _ result: OpaquePointer?) {
    guard let context, let result else { return }
    // SAFETY: the context is the session's own receiver, which outlives the connection.
    let receiver = Unmanaged<NoticeReceiver>.fromOpaque(context).takeUnretainedValue()
    guard receiver.heard != nil else { return }
    func field(_ code: Character) -> String? {
        code.asciiValue.flatMap { PQresultErrorField(result, Int32($0)) }
            .map { redacted(String(cString: $0), receiver.secrets) }
    }
    receiver.heard?.add(
        ServerNotices.Notice(
            severity: field("V") ?? field("S") ?? "NOTICE", message: field("M") ?? "",
            detail: field("D"), hint: field("H")))
}

/// A text of libpq without the secrets of the address, on one line.
private func redacted(_ text: String, _ secrets: [String]) -> String {
    var text = text
    for secret in secrets {
        text = text.split(separator: secret, omittingEmptySubsequences: false).joined(
            separator: "***")
    }
    return text.split(whereSeparator: \.isNewline).joined(separator: " ")
}

extension Rows {
    fileprivate init(_ result: OpaquePointer) {
        let columnCount = PQnfields(result)
        columns = (0..<columnCount).map { column in
            PQfname(result, column).map { String(cString: $0) } ?? ""
        }
        cells = (0..<PQntuples(result)).map { row in
            (0..<columnCount).map { column in
                PQgetisnull(result, row, column) == 1
                    ? nil : String(cString: PQgetvalue(result, row, column))
            }
        }
        affected = Int(String(cString: PQcmdTuples(result))) ?? 0
    }
}

extension ServerError {
    /// - Returns: `nil` when the failure came from libpq and not from the server.
    fileprivate init?(_ result: OpaquePointer, _ secrets: [String]) {
        func field(_ code: Character) -> String? {
            code.asciiValue.flatMap { PQresultErrorField(result, Int32($0)) }
                .map { redacted(String(cString: $0), secrets) }
        }
        guard let sqlState = field("C") else { return nil }
        self.init(
            severity: field("V") ?? field("S") ?? "ERROR", sqlState: sqlState,
            message: field("M") ?? "",
            detail: field("D"), hint: field("H"), position: field("P").flatMap { Int($0) },
            context: field("W"), schema: field("s"), routine: field("R"))
    }
}
