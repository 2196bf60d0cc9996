// SPDX-License-Identifier: Apache-2.0

/// One question of a proxy, as HTTP/1.0 or 1.1 without a body.
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
    var keepAlive: Bool

    /// What is wrong with a question that cannot be answered.
    enum Malformed: Error, Hashable {
        case tooLong, notARequest, hasBody, unknownPath
    }

    /// Reads one request from the beginning of a buffer.
    ///
    /// - Returns: the request, or `nil` when it has not arrived whole yet.
    static func read(
        _ buffer: [UInt8], routes: GateRoutes
    ) throws(Malformed) -> AdmissionRequest? {
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
        let convention: Convention
        switch String(decoding: words[1].prefix(while: { $0 != UInt8(ascii: "?") }), as: UTF8.self)
        {
        case "/admit": convention = .authRequest
        case "/forward-auth": convention = .forwardAuth
        default: throw .unknownPath
        }
        let headers = try Headers(lines.dropFirst())
        return AdmissionRequest(
            convention: convention, kind: headers.kind(convention, routes),
            request: convention == .authRequest ? headers.request : nil,
            worker: headers.worker, keepAlive: headers.keepAlive ?? (version == .one))
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

/// The few headers that matter; a later one of the same name does not override the first.
private struct Headers {
    var request: RequestIdentifier?
    var worker: ProxyWorker?
    var keepAlive: Bool?
    private var statedKind: RequestKind?
    private var method: String?
    private var target: String?

    init(_ lines: ArraySlice<ArraySlice<UInt8>>) throws(AdmissionRequest.Malformed) {
        for line in lines {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else {
                throw .notARequest
            }
            let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
            let value = trimmed(line[(colon + 1)...])
            switch name {
            case "content-length":
                guard value.elementsEqual("0".utf8) else { throw .hasBody }
            case "transfer-encoding": throw .hasBody
            case "connection": keepAlive = keepAlive ?? (text(value).lowercased() != "close")
            case "x-request-id": request = request ?? RequestIdentifier(value)
            case "x-sluice-worker": worker = worker ?? ProxyWorker(value)
            case "x-sluice-kind": statedKind = statedKind ?? RequestKind(rawValue: text(value))
            case "x-original-method", "x-forwarded-method": method = method ?? text(value)
            case "x-original-uri", "x-forwarded-uri": target = target ?? text(value)
            default: break
            }
        }
    }

    /// Only nginx's snippet sets `X-Sluice-Kind` for every request; elsewhere a client could send it.
    func kind(_ convention: AdmissionRequest.Convention, _ routes: GateRoutes) -> RequestKind {
        if convention == .authRequest, let statedKind { return statedKind }
        guard let method, let target else { return .write }
        return routes.kind(method: method, target: target)
    }
}

private func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

private func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var bytes = bytes
    while let first = bytes.first, first == 32 || first == 9 { bytes.removeFirst() }
    while let last = bytes.last, last == 32 || last == 9 { bytes.removeLast() }
    return bytes
}
