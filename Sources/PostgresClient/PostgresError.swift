// SPDX-License-Identifier: Apache-2.0

/// What the server said about a statement that failed.
///
/// The fields are those of PostgreSQL's protocol ("Error and Notice Message Fields").
public struct ServerError: Hashable, Sendable {
    /// `ERROR`, `FATAL` or `PANIC`, never translated.
    public var severity: String
    /// Five characters; `57014` is a cancelled statement, `55P03` a lock that was not to be had in time.
    public var sqlState: String
    public var message: String
    public var detail: String?
    public var hint: String?
    /// Where in the statement, in characters from 1.
    public var position: Int?
    /// The call stack inside the server, for people.
    public var context: String?
    /// The schema of what the error is about, where the server says so.
    public var schema: String?
    /// The function of the server's source that found the error, such as `simple_heap_delete`; never translated.
    public var routine: String?

    public init(
        severity: String, sqlState: String, message: String, detail: String? = nil,
        hint: String? = nil,
        position: Int? = nil, context: String? = nil, schema: String? = nil, routine: String? = nil
    ) {
        self.severity = severity
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
        self.position = position
        self.context = context
        self.schema = schema
        self.routine = routine
    }
}

/// Why a call of a connection failed.
public enum PostgresError: Error, Hashable, Sendable {
    /// The address cannot be read. Nothing of it is in the text.
    case addressUnreadable(String)
    /// No session could be made. Nothing was sent.
    case connectFailed(String)
    /// The server refused a statement; the session lives on, an open transaction is aborted.
    case server(ServerError)
    /// The session is gone. Whether the statement in flight took effect is not known.
    ///
    /// `last` is what the server said before it closed, such as `57P01` for an ended session.
    case connectionLost(String, last: ServerError?)
    /// The caller's fault: a text with a zero byte, a COPY, a closed connection.
    case misuse(String)

    /// The server's SQLSTATE, when it said one.
    public var sqlState: String? {
        switch self {
        case .server(let error): error.sqlState
        case .connectionLost(_, let last): last?.sqlState
        case .addressUnreadable, .connectFailed, .misuse: nil
        }
    }

    public var isConnectionLost: Bool {
        if case .connectionLost = self { true } else { false }
    }
}

extension PostgresError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .addressUnreadable(let reason): reason
        case .connectFailed(let reason): "cannot connect to PostgreSQL: \(reason)"
        case .server(let error): error.description
        case .connectionLost(let reason, let last):
            "the connection to PostgreSQL was lost: \(last?.description ?? reason)"
        case .misuse(let reason): reason
        }
    }
}

extension ServerError: CustomStringConvertible {
    public var description: String {
        var text = "\(severity) \(sqlState): \(message)"
        if let detail { text += " (\(detail))" }
        if let hint { text += "; hint: \(hint)" }
        return text
    }
}
