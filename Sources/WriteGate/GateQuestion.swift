// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// One question over a socket of the gate, as HTTP/1.0 or 1.1 without a body.
struct GateQuestion: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        /// A proxy asks whether a request may pass.
        case admission(AdmissionRequest)
        /// A proxy asks for a refusal in the client's own words.
        case refusal(Refusal, RefusalForm, proof: String?)
        /// What the gate does: `mode.json`.
        case mode
        /// What the gate does, and how many wait and are under way.
        case status
    }

    /// Where a question has come in.
    enum Door: Hashable, Sendable {
        /// The unix socket: its permissions let the proxy in.
        case proxy
        /// A loopback port, open to anybody on this machine.
        case loopback(token: String?)
    }

    var kind: Kind
    var keepAlive: Bool

    /// What is wrong with a question that cannot be answered.
    enum Malformed: Error, Hashable {
        case tooLong, notARequest, hasBody, unknownPath, notForEverybody
    }

    /// Reads one question from the beginning of a buffer.
    ///
    /// - Returns: the question, or `nil` when it has not arrived whole yet.
    static func read(
        _ buffer: [UInt8], from door: Door = .proxy, routes: GateRoutes
    ) throws(Malformed) -> GateQuestion? {
        guard let end = endOfHeaders(buffer) else {
            if buffer.count >= GateConfiguration.requestBytesAtMost { throw .tooLong }
            return nil
        }
        // One question a connection at a time: more bytes mean a body or a pipeline.
        guard end == buffer.count else { throw .hasBody }
        let lines = buffer[..<(end - 4)].split(separator: 10, omittingEmptySubsequences: false)
            .map { $0.last == 13 ? $0.dropLast() : $0 }
        let words = lines[0].split(separator: 32, omittingEmptySubsequences: false)
        guard words.count == 3, let version = Version(words[2]) else { throw .notARequest }
        let headers = try QuestionHeaders(lines.dropFirst())
        let target = words[1].split(
            separator: UInt8(ascii: "?"), maxSplits: 1, omittingEmptySubsequences: false)
        let query = target.count == 2 ? target[1] : []
        let kind: Kind
        switch String(decoding: target[0], as: UTF8.self) {
        case "/admit":
            guard door == .proxy else { throw .notForEverybody }
            kind = .admission(headers.authRequest(routes))
        case "/forward-auth":
            guard door.lets(in: query) else { throw .notForEverybody }
            kind = .admission(headers.forwardAuth(routes))
        case "/forward-auth/decided":
            guard door == .proxy else { throw .notForEverybody }
            kind = .admission(AdmissionRequest(saidByProxy: query))
        case "/refused":
            guard door == .proxy else { throw .notForEverybody }
            kind = headers.refusal
        case "/mode": kind = .mode
        case "/status": kind = .status
        default: throw .unknownPath
        }
        return GateQuestion(kind: kind, keepAlive: headers.keepAlive ?? (version == .one))
    }

    private enum Version {
        case zero, one

        init?(_ bytes: ArraySlice<UInt8>) {
            if bytes.elementsEqual("HTTP/1.1".utf8) {
                self = .one
            } else if bytes.elementsEqual("HTTP/1.0".utf8) {
                self = .zero
            } else {
                return nil
            }
        }
    }

    private static func endOfHeaders(_ buffer: [UInt8]) -> Int? {
        guard buffer.count >= 4 else { return nil }
        for end in 4...buffer.count
        where buffer[end - 1] == 10 && buffer[end - 2] == 13 && buffer[end - 3] == 10
            && buffer[end - 4] == 13
        {
            return end
        }
        return nil
    }
}

extension GateQuestion.Door {
    /// Whether a proxy may ask here, with what its own configuration says after the `?`.
    fileprivate func lets(in query: ArraySlice<UInt8>) -> Bool {
        guard case .loopback(let token) = self else { return true }
        guard let token, !token.isEmpty else { return false }
        let expected = Array("token=\(token)".utf8)
        guard query.count == expected.count else { return false }
        // Every byte is looked at, so that the time says nothing about where they differ.
        return zip(query, expected).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

/// One question whether a request may pass.
struct AdmissionRequest: Hashable, Sendable {
    /// How the proxy wants to be answered.
    enum Convention: Hashable, Sendable {
        /// `/admit`: nginx's `auth_request`, which knows 2xx, 401 and 403 and nothing else.
        case authRequest
        /// `/forward-auth`: Traefik, Caddy and others that hand a refusal on to the client as it is.
        case forwardAuth
    }

    var convention: Convention
    var kind: RequestKind
    /// Absent when the proxy sends none, or hands on one that a client chose; then the write is admitted without being
    /// counted.
    var request: RequestIdentifier?
    /// The proxy's worker process, when it says which.
    var worker: ProxyWorker?
    /// How the client wants to be refused.
    var form = RefusalForm.text
    /// The nonce of the agent's own probe.
    var probe: String?
    /// By what the proxy knows a session.
    var sessionMarks: String?
}

extension AdmissionRequest {
    /// What a proxy says behind the `?` that decides by itself and hands nothing on that a client has sent:
    /// `kind=write&form=json&mark=-`. (At `/forward-auth` a client's own query may stand there.)
    fileprivate init(saidByProxy query: ArraySlice<UInt8>) {
        var said: [Substring: Substring] = [:]
        for pair in String(decoding: query, as: UTF8.self).split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            if parts.count == 2, said[parts[0]] == nil { said[parts[0]] = parts[1] }
        }
        let kind = said["kind"].flatMap { RequestKind(rawValue: String($0)) }
        self.init(convention: .forwardAuth, kind: kind ?? .write)
        form = said["form"] == "json" ? .json : .text
        probe = said["mark"].map(String.init)
    }
}

/// The few headers that matter; a later one of the same name does not override the first.
private struct QuestionHeaders {
    var keepAlive: Bool?
    private var first: [String: String] = [:]

    private static let known: Set<String> = [
        "x-request-id", "x-sluice-worker", "x-sluice-kind", "x-sluice-probe", "x-sluice-refused",
        "x-sluice-retry-after", "x-sluice-message", "x-sluice-proof", "x-sluice-session-marks",
        "x-original-method", "x-original-uri", "x-original-accept", "x-original-content-type",
        "x-forwarded-method", "x-forwarded-uri", "accept", "content-type", "upgrade",
    ]

    init(_ lines: ArraySlice<ArraySlice<UInt8>>) throws(GateQuestion.Malformed) {
        for line in lines {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else {
                throw .notARequest
            }
            let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
            let value = String(decoding: trimmed(line[(colon + 1)...]), as: UTF8.self)
            switch name {
            case "content-length":
                guard value == "0" else { throw .hasBody }
            case "transfer-encoding": throw .hasBody
            case "connection": keepAlive = keepAlive ?? (value.lowercased() != "close")
            default:
                guard Self.known.contains(name), first[name] == nil else { break }
                first[name] = value
            }
        }
    }

    /// The snippet of nginx sets its headers for each request and hands none of the client's on: `X-Sluice-Kind`, or
    /// `X-Original-Method` and `X-Original-URI`.
    func authRequest(_ routes: GateRoutes) -> AdmissionRequest {
        var request = AdmissionRequest(convention: .authRequest, kind: .write)
        if let stated = first["x-sluice-kind"].flatMap(RequestKind.init(rawValue:)) {
            request.kind = stated
        } else if let method = first["x-original-method"], let target = first["x-original-uri"] {
            request.kind = routes.kind(method: method, target: target)
        }
        request.request = first["x-request-id"].flatMap { RequestIdentifier($0) }
        request.worker = first["x-sluice-worker"].flatMap { ProxyWorker(Array($0.utf8)) }
        request.probe = first["x-sluice-probe"].flatMap { $0.isEmpty ? nil : $0 }
        request.sessionMarks = first["x-sluice-session-marks"].map { String($0.prefix(200)) }
        return request
    }

    /// Proxies of this kind set `X-Forwarded-Method` and `X-Forwarded-Uri` and hand on what else a client sends: nothing
    /// else says what the request does.
    func forwardAuth(_ routes: GateRoutes) -> AdmissionRequest {
        var request = AdmissionRequest(convention: .forwardAuth, kind: .write)
        if let method = first["x-forwarded-method"], let target = first["x-forwarded-uri"] {
            request.kind = routes.kind(method: method, target: target)
            if method == "GET", first["upgrade"]?.lowercased() == "websocket" {
                request.kind = .stream
            }
            let form = RefusalForm(
                method: method, accept: first["accept"] ?? "",
                contentType: first["content-type"] ?? "")
            // Such a proxy takes any 2xx for an admission, and the others are 200.
            request.form = form == .json ? .json : .text
        }
        request.probe = first["x-sluice-probe"].flatMap { $0.isEmpty ? nil : $0 }
        return request
    }

    /// What an admission has answered before, handed back by the proxy.
    var refusal: GateQuestion.Kind {
        let seconds = first["x-sluice-retry-after"].flatMap { Int64($0) } ?? 5
        let refusal = Refusal(
            first["x-sluice-refused"].flatMap(Refusal.Reason.init(rawValue:)) ?? .readOnly,
            retryAfter: Span(milliseconds: min(max(seconds, 1), 86_400) * 1000),
            message: first["x-sluice-message"] ?? "")
        let form = RefusalForm(
            method: first["x-original-method"] ?? "", accept: first["x-original-accept"] ?? "",
            contentType: first["x-original-content-type"] ?? "")
        return .refusal(
            refusal, form, proof: first["x-sluice-proof"].flatMap { $0.isEmpty ? nil : $0 })
    }
}

private func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var bytes = bytes
    while let first = bytes.first, first == 32 || first == 9 { bytes.removeFirst() }
    while let last = bytes.last, last == 32 || last == 9 { bytes.removeLast() }
    return bytes
}
