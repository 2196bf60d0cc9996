// SPDX-License-Identifier: Apache-2.0

import CurlClient
import Glibc
import UpgradeModel

/// One question to an application that speaks FastCGI at its socket, as php-fpm does, and no HTTP.
struct FastCGI: Sendable {
    /// Where it listens.
    var socket: String
    /// What the proxy would hand over with `fastcgi_param`.
    var parameters: [HTTPHeader]

    /// More than that is no health page.
    static let longestAnswer = 1 << 20

    /// A `GET` of a page, answered by one script.
    ///
    /// - Parameters:
    ///   - script: the file, with its whole path.
    ///   - page: path and query, as a browser asks for it.
    init(socket: String, script: String, page: String, host: String, headers: [HTTPHeader]) {
        self.socket = socket
        let name = script.split(separator: "/").last.map(String.init) ?? script
        let query = page.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        parameters = [
            HTTPHeader("GATEWAY_INTERFACE", "CGI/1.1"),
            HTTPHeader("SERVER_PROTOCOL", "HTTP/1.1"),
            HTTPHeader("SERVER_SOFTWARE", "sluice-agent"),
            HTTPHeader("SERVER_NAME", host), HTTPHeader("SERVER_PORT", "80"),
            HTTPHeader("REMOTE_ADDR", "127.0.0.1"), HTTPHeader("REQUEST_METHOD", "GET"),
            HTTPHeader("SCRIPT_FILENAME", script), HTTPHeader("SCRIPT_NAME", "/" + name),
            HTTPHeader("DOCUMENT_ROOT", String(script.dropLast(name.utf8.count + 1))),
            HTTPHeader("REQUEST_URI", page), HTTPHeader("DOCUMENT_URI", String(query[0])),
            HTTPHeader("QUERY_STRING", query.count > 1 ? String(query[1]) : ""),
            HTTPHeader("REDIRECT_STATUS", "200"), HTTPHeader("HTTP_HOST", host),
        ]
        for header in headers {
            let variable = header.name.uppercased().replacing("-", with: "_")
            parameters.append(HTTPHeader("HTTP_" + variable, header.value))
        }
    }

    /// Asks, on a connection of its own.
    ///
    /// Never blocks a thread: it looks every few milliseconds, and few questions are asked at once.
    func ask(within limit: Span) async throws(SystemFailure) -> HTTPResponse {
        let deadline = ContinuousClock.now + .milliseconds(limit.milliseconds)
        let connection = LocalConnection(
            Glibc.socket(
                AF_UNIX,
                Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0))
        while connection.withAddress(socket, { connect($0, $1, $2) }) != 0 {
            // Its queue is full.
            guard errno == EAGAIN else { throw SystemFailure(errno: "connect to \(socket)") }
            try await wait(until: deadline)
        }
        guard connection.send(request) else { throw SystemFailure(errno: "ask at \(socket)") }
        var answer = FastCGIAnswer()
        while !answer.isComplete {
            switch connection.receive() {
            case .bytes(let bytes): answer.add(bytes)
            case .nothingYet: try await wait(until: deadline)
            case .end: throw SystemFailure("\(socket): the connection ended before the answer")
            }
            if answer.output.count > FastCGI.longestAnswer {
                throw SystemFailure("\(socket): the answer is longer than a megabyte")
            }
        }
        guard let response = answer.response else {
            throw SystemFailure("\(socket): the answer is not one of FastCGI")
        }
        return response
    }

    private func wait(until deadline: ContinuousClock.Instant) async throws(SystemFailure) {
        guard ContinuousClock.now < deadline, !Task.isCancelled else {
            throw SystemFailure("\(socket): no answer in time")
        }
        try? await Task.sleep(for: .milliseconds(2))
    }

    // MARK: What is sent

    fileprivate enum Record: UInt8 {
        case begin = 1, end = 3, parameters = 4, input, output, errors
    }

    /// The beginning as a responder, the parameters, and an empty body.
    var request: [UInt8] {
        var pairs: [UInt8] = []
        for pair in parameters {
            let (name, value) = (Array(pair.name.utf8), Array(pair.value.utf8))
            pairs += FastCGI.length(name.count) + FastCGI.length(value.count) + name + value
        }
        var bytes = FastCGI.record(.begin, [0, 1, 0, 0, 0, 0, 0, 0])
        for start in stride(from: 0, to: pairs.count, by: 32_768) {
            let part = pairs[start..<min(start + 32_768, pairs.count)]
            bytes += FastCGI.record(.parameters, Array(part))
        }
        return bytes + FastCGI.record(.parameters, []) + FastCGI.record(.input, [])
    }

    private static func length(_ count: Int) -> [UInt8] {
        if count < 128 { return [UInt8(count)] }
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) | ($0 == 24 ? 128 : 0) }
    }

    private static func record(_ kind: Record, _ content: [UInt8]) -> [UInt8] {
        let (high, low) = (UInt8(content.count >> 8), UInt8(content.count & 255))
        return [1, kind.rawValue, 0, 1, high, low, 0, 0] + content
    }
}

/// What has come of an answer so far, record by record.
struct FastCGIAnswer {
    /// Headers and body, as a script writes them.
    private(set) var output: [UInt8] = []
    private(set) var isComplete = false
    private var rest: [UInt8] = []

    mutating func add(_ bytes: [UInt8]) {
        rest += bytes
        while rest.count >= 8 {
            let length = Int(rest[4]) << 8 | Int(rest[5])
            let whole = 8 + length + Int(rest[6])
            guard rest.count >= whole else { return }
            switch FastCGI.Record(rawValue: rest[1]) {
            case .end: isComplete = true
            case .output: output += rest[8..<(8 + length)]
            // What the script says on its error output is its log's.
            default: break
            }
            rest.removeFirst(whole)
        }
    }

    /// Without a `Status` header it is 200; `nil` without the empty line that ends the headers.
    var response: HTTPResponse? {
        var headers: [HTTPHeader] = []
        var left = output[...]
        while let end = left.firstIndex(of: 10) {
            let line = left[..<end]
            left = left[(end + 1)...]
            let text = String(decoding: line.last == 13 ? line.dropLast() : line, as: UTF8.self)
            if text.isEmpty {
                var head = HTTPResponseHead(status: 200, headers: headers)
                if let status = head.first("Status") {
                    guard let number = Int(status.prefix(3)) else { return nil }
                    head.status = number
                }
                return HTTPResponse(head: head, body: Array(left))
            }
            guard let colon = text.firstIndex(of: ":") else { return nil }
            let value = text[text.index(after: colon)...].drop { $0 == " " }
            headers.append(HTTPHeader(String(text[..<colon]), String(value)))
        }
        return nil
    }
}
