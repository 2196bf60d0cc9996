// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Why a request is not let through, and when its client shall try again.
struct Refusal: Hashable, Sendable {
    /// A stable word for programs, sent in `X-Sluice-Refused`.
    enum Reason: String, Sendable {
        case readOnly = "read-only"
        case holdFull = "hold-full"
        case holdExpired = "hold-expired"
        /// Nobody answered the proxy, and the flags said no.
        case agentGone = "agent-gone"
        /// The agent's own question, whether a write through the proxy gets as far as the gate: and a write would.
        case probeOpen = "probe-open"
        /// The same, and a write would be held or refused.
        case probeClosed = "probe-closed"
    }

    var reason: Reason
    var retryAfter: Span
    /// For people; empty for the usual sentence.
    var message: String

    init(_ reason: Reason, retryAfter: Span, message: String = "") {
        self.reason = reason
        self.retryAfter = retryAfter
        self.message = message
    }

    /// Whole seconds, rounded up, from 1 to a day: what `Retry-After` says.
    var retryAfterSeconds: Int64 {
        let bounded = min(max(retryAfter.milliseconds, 1), 86_400_000)
        return (bounded + 999) / 1000
    }

    /// One line that is safe in a header: no control characters, 512 bytes at most.
    var line: String { headerText(message.isEmpty ? Self.usualSentence : message) }

    static let usualSentence = "Read-only for the moment. Please try again shortly."
    /// Whoever only wants to read is not helped by hearing that nobody writes.
    static let sentenceForReads =
        "This page cannot be shown for the moment. Please try again shortly."
}

/// A refusal in the words of the client's own protocol.
enum RefusalForm: Sendable {
    case text, json, events, grpc

    /// - Parameters:
    ///   - accept: the client's `Accept`.
    ///   - contentType: of the request's body.
    init(method: String, accept: String, contentType: String) {
        let accept = accept.lowercased()
        if contentType.lowercased().hasPrefix("application/grpc") {
            self = .grpc
        } else if method == "GET", accept.contains("text/event-stream") {
            self = .events
        } else if accept.contains("json"), !accept.contains("text/html") {
            self = .json
        } else {
            self = .text
        }
    }
}

extension Refusal {
    /// What the client gets, where the proxy hands an answer on as it is.
    ///
    /// An EventSource comes back only after a stream that has ended, never after a 503; a gRPC client reads the status of
    /// its own protocol.
    func response(in form: RefusalForm, keepAlive: Bool, proof: String? = nil) -> [UInt8] {
        let seconds = retryAfterSeconds
        var status = "503 Service Unavailable"
        var type = "text/plain; charset=utf-8"
        var body = line + "\n"
        var more = ""
        switch form {
        case .text: break
        case .json:
            type = "application/json"
            body =
                "{\"error\":\"\(reason.rawValue)\",\"message\":\"\(jsonText(line))\",\"retryAfter\":\(seconds)}\n"
        case .events:
            status = "200 OK"
            type = "text/event-stream"
            body = "retry: \(seconds * 1000)\n: \(line)\n\n"
        case .grpc:
            status = "200 OK"
            type = "application/grpc"
            body = ""
            more = "grpc-status: 14\r\ngrpc-message: \(percentText(line))\r\n"
            more += "grpc-retry-pushback-ms: \(seconds * 1000)\r\n"
        }
        var head = "HTTP/1.1 \(status)\r\n\(keepAlive ? "" : "Connection: close\r\n")"
        head += "Content-Length: \(body.utf8.count)\r\nContent-Type: \(type)\r\n"
        head += "Cache-Control: no-store\r\nRetry-After: \(seconds)\r\n"
        head += "X-Sluice-Refused: \(reason.rawValue)\r\n\(more)"
        if let proof { head += "X-Sluice-Proof: \(headerText(proof))\r\n" }
        return Array((head + "\r\n" + body).utf8)
    }

    /// What nginx's `auth_request` gets: it knows 2xx, 401 and 403 and hands nothing on but what it is told to.
    func authRequestResponse(keepAlive: Bool, proof: String?) -> [UInt8] {
        var head = "HTTP/1.1 401 Unauthorized\r\n\(keepAlive ? "" : "Connection: close\r\n")"
        head += "Content-Length: 0\r\nRetry-After: \(retryAfterSeconds)\r\n"
        head += "X-Sluice-Refused: \(reason.rawValue)\r\nX-Sluice-Message: \(line)\r\n"
        // What the proxy cannot make of the message by itself.
        head += "X-Sluice-Message-Json: \(jsonText(line))\r\n"
        head += "X-Sluice-Message-Grpc: \(percentText(line))\r\n"
        if let proof { head += "X-Sluice-Proof: \(proof)\r\n" }
        return Array((head + "\r\n").utf8)
    }
}

private func headerText(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars
    where scalar.value >= 32 && !(127...159).contains(scalar.value) {
        guard result.utf8.count + UTF8.width(scalar) <= 512 else { break }
        result.unicodeScalars.append(scalar)
    }
    return result
}

/// The inside of a JSON string, of a text without control characters.
private func jsonText(_ line: String) -> String {
    line.unicodeScalars.map { scalar in
        scalar == "\"" || scalar == "\\" ? "\\\(scalar)" : String(scalar)
    }.joined()
}

/// As gRPC wants `grpc-message`: printable ASCII, everything else and `%` as `%XX`.
private func percentText(_ line: String) -> String {
    line.utf8.map { byte in
        (32...126).contains(byte) && byte != UInt8(ascii: "%")
            ? String(UnicodeScalar(byte))
            : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
    }.joined()
}
