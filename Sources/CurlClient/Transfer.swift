// SPDX-License-Identifier: Apache-2.0

internal import CCurl
internal import Glibc
internal import Synchronization

/// One request under way: its easy handle, what has arrived, and the memory that curl points to until it has ended.
///
/// SAFETY: `@unchecked` because everything mutable is touched by the loop's thread alone, between `begin` and `end`. What other
/// threads see is constant (`request`, `receiver`) or atomic (`cancelRequested`).
final class Transfer: @unchecked Sendable {
    struct Receiver: Sendable {
        let onHead: @Sendable (HTTPResponseHead) -> Bool
        let onBytes: @Sendable (UnsafeRawBufferPointer) -> Bool
    }

    let request: HTTPRequest
    let receiver: Receiver?
    let cancelRequested = Atomic(false)

    private(set) var easy: UnsafeMutableRawPointer?
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var connectToList: UnsafeMutablePointer<curl_slist>?
    private var errorText: UnsafeMutablePointer<CChar>?
    private var file: Int32 = -1

    private var head = HTTPResponseHead(status: 0)
    private var headBytes = 0
    private var headIsComplete = false
    private var body: [UInt8] = []
    private var received = 0
    /// Set by a callback before it makes curl stop.
    private var ownFailure: HTTPFailure?

    init(_ request: HTTPRequest, receiver: Receiver?) {
        self.request = request
        self.receiver = receiver
    }

    /// Method, URL without its query (which may hold a token), and the text.
    func failure(_ code: HTTPFailure.Code, _ text: String, curlName: String = "") -> HTTPFailure {
        let url = request.url.prefix(200).prefix { $0 != "?" && $0 != "@" }
        let socket = request.unixSocket.map { " over \($0)" } ?? ""
        return HTTPFailure(code, "\(request.method) \(url)\(socket): \(text)", curlName: curlName)
    }

    // MARK: - On the loop's thread

    /// Makes the easy handle. `nil` when that fails; `end` then says why.
    func begin() -> UnsafeMutableRawPointer? {
        guard let easy = curl_easy_init() else { return nil }
        self.easy = easy
        let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        self.errorText = errorText

        var options = EasyOptions(easy: easy)
        options.set(CURLOPT_ERRORBUFFER, pointer: UnsafeMutableRawPointer(errorText))
        options.setPolicy()
        options.setTarget(request)
        headerList = options.setHeaders(request)
        connectToList = options.setConnectTo(request.connectTo)
        setBody(&options)
        // SAFETY: unretained is enough, the loop holds the transfer until `end` has cleaned the handle up.
        let context = Unmanaged.passUnretained(self).toOpaque()
        options.setReceivers(context)
        if let failed = options.failed, ownFailure == nil {
            ownFailure = failure(
                .invalidRequest, "libcurl refuses option \(failed.option): \(failed.text)",
                curlName: failed.name)
        }
        return ownFailure == nil ? easy : nil
    }

    private func setBody(_ options: inout EasyOptions) {
        switch request.body {
        case .none: options.setNoBody(request.method)
        case .bytes(let bytes): options.setBody(bytes, request.method)
        case .file(let path):
            file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
            var status = stat()
            guard file >= 0, fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
                let reason =
                    file < 0 ? String(cString: strerror(errno)) : "it is not a regular file"
                ownFailure = failure(.unreadableBody, "cannot send the file \(path): \(reason)")
                return
            }
            // SAFETY: see begin().
            let context = Unmanaged.passUnretained(self).toOpaque()
            options.setUpload(size: Int64(status.st_size), request.method, context)
        }
    }

    /// Frees what curl used and says how the transfer ended. The easy handle has left the multi handle before.
    func end(_ code: CURLcode?, _ reason: HTTPFailure.Code?) -> Result<HTTPResponse, HTTPFailure> {
        let result = outcome(code, reason)
        if let easy { curl_easy_cleanup(easy) }
        easy = nil
        curl_slist_free_all(headerList)
        headerList = nil
        curl_slist_free_all(connectToList)
        connectToList = nil
        errorText?.deallocate()
        errorText = nil
        if file >= 0 { _ = Glibc.close(file) }
        file = -1
        return result
    }

    private func outcome(
        _ code: CURLcode?, _ reason: HTTPFailure.Code?
    ) -> Result<HTTPResponse, HTTPFailure> {
        if let ownFailure { return .failure(ownFailure) }
        switch reason {
        case .cancelled: return .failure(failure(.cancelled, "cancelled"))
        case .closed: return .failure(failure(.closed, "the HTTP client was closed"))
        case .some(let other):
            return .failure(failure(other, "libcurl could not start the transfer"))
        case .none: break
        }
        guard let code, let easy else { return .failure(failure(.other, "no result from libcurl")) }
        if code == CURLE_OK {
            guard headIsComplete else {
                return .failure(failure(.interrupted, "an answer without a head"))
            }
            return .success(HTTPResponse(head: head, body: body))
        }
        var systemError = 0
        _ = sluice_curl_get_long(easy, CURLINFO_OS_ERRNO, &systemError)
        let own = errorText.map { String(cString: $0) } ?? ""
        return .failure(
            failure(
                HTTPFailure.Code(curl: code, systemError: systemError),
                own.isEmpty ? String(cString: curl_easy_strerror(code)) : own,
                curlName: String(cString: sluice_curl_code_name(code))))
    }

    // MARK: - What curl calls. True to go on.

    /// One header line with its line end; the first of an answer is its status line, the last one is empty.
    func receiveHeaderLine(_ bytes: UnsafeRawBufferPointer) -> Bool {
        // What follows a complete head are trailers, which nobody asked for.
        if headIsComplete { return true }
        let line = String(decoding: bytes.prefix { $0 != 13 && $0 != 10 }, as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            headBytes = 0
            // "HTTP/1.1 200 OK" and "HTTP/2 200".
            let status = line.split(separator: " ").dropFirst().first?.prefix(3)
            head = HTTPResponseHead(status: status.flatMap { Int($0) } ?? 0)
        }
        headBytes += bytes.count
        guard headBytes <= 65_536, head.headers.count < 200 else {
            return stop(.tooLarge, "the head of the answer has more than 64 KiB or 200 headers")
        }
        if line.isEmpty { return completeHead() }
        if !line.hasPrefix("HTTP/"), let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            head.headers.append(HTTPHeader(String(line[..<colon]), String(value)))
        }
        return true
    }

    private func completeHead() -> Bool {
        guard head.status >= 200 else { return true }
        headIsComplete = true
        if request.method != .head, let length = head.first("Content-Length").flatMap({ Int($0) }),
            length > request.maximumBody
        {
            return stop(
                .tooLarge, "the answer has \(length) bytes, the limit is \(request.maximumBody)")
        }
        if let receiver, !receiver.onHead(head) { return stop(.stopped, "stopped after the head") }
        return true
    }

    func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count <= request.maximumBody - received else {
            return stop(
                .tooLarge,
                "the answer has more than \(request.maximumBody) bytes, which is the limit")
        }
        received += bytes.count
        guard let receiver else {
            body.append(contentsOf: bytes)
            return true
        }
        return receiver.onBytes(bytes) || stop(.stopped, "stopped after \(received) bytes")
    }

    /// - Returns: how many bytes of the file were read; `nil` makes curl stop.
    func readBody(into bytes: UnsafeMutableRawBufferPointer) -> Int? {
        let count = read(file, bytes.baseAddress, bytes.count)
        if count >= 0 { return count }
        _ = stop(
            .unreadableBody, "cannot read the body's file: \(String(cString: strerror(errno)))")
        return nil
    }

    /// curl sends the body again on a new connection when a kept one turns out to be closed.
    func rewindBody(to offset: Int64) -> Bool { lseek(file, off_t(offset), SEEK_SET) >= 0 }

    private func stop(_ code: HTTPFailure.Code, _ text: String) -> Bool {
        ownFailure = failure(code, text)
        return false
    }
}
