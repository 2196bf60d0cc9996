// SPDX-License-Identifier: Apache-2.0

internal import CCurl
internal import Glibc

/// Sets the options of an easy handle and remembers the first that curl refused.
struct EasyOptions {
    let easy: UnsafeMutableRawPointer
    private(set) var failed: (option: UInt32, name: String, text: String)?

    init(easy: UnsafeMutableRawPointer) { self.easy = easy }

    /// What holds for every request.
    mutating func setPolicy() {
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_PROTOCOLS_STR, text: "http,https")
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1)
        // Neither `http_proxy` of the environment nor ~/.netrc has a say in where requests go.
        set(CURLOPT_PROXY, text: "")
        set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        // The kernel notices a peer that vanished without a word during a long poll, without waking this process.
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_TCP_KEEPIDLE, 30)
        set(CURLOPT_TCP_KEEPINTVL, 10)
        check(CURLOPT_SOCKOPTFUNCTION, sluice_curl_set_close_on_exec(easy))
    }

    mutating func setTarget(_ request: HTTPRequest) {
        set(CURLOPT_URL, text: request.url)
        set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(request.timeouts.connect))
        if let total = request.timeouts.total { set(CURLOPT_TIMEOUT_MS, milliseconds(total)) }
        if let stall = request.timeouts.stall {
            set(CURLOPT_LOW_SPEED_LIMIT, 1)
            set(CURLOPT_LOW_SPEED_TIME, (milliseconds(stall) + 999) / 1000)
        }
        if let path = request.unixSocket { set(CURLOPT_UNIX_SOCKET_PATH, text: path) }
        if request.beginsWithProxyLine { set(CURLOPT_HAPROXYPROTOCOL, 1) }
        if request.speaksHTTP2 {
            set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE))
        }
        if request.tls.isUnverified {
            set(CURLOPT_SSL_VERIFYPEER, 0)
            set(CURLOPT_SSL_VERIFYHOST, 0)
        }
        if let path = request.tls.authorities {
            set(CURLOPT_CAINFO, text: path)
            // libcurl would keep for a day what it has read, and trust nobody whose authority has been renewed since.
            set(CURLOPT_CA_CACHE_TIMEOUT, 0)
            check(CURLOPT_CAPATH, sluice_curl_set_text(easy, CURLOPT_CAPATH, nil))
        }
        if let path = request.tls.certificate { set(CURLOPT_SSLCERT, text: path) }
        if let path = request.tls.privateKey { set(CURLOPT_SSLKEY, text: path) }
        if let range = request.range {
            set(CURLOPT_RANGE, text: "\(range.first)-\(range.last.map(String.init) ?? "")")
        }
    }

    /// - Returns: the list, to be freed when the handle has been cleaned up.
    mutating func setHeaders(_ request: HTTPRequest) -> UnsafeMutablePointer<curl_slist>? {
        var lines = request.headers.map {
            $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)"
        }
        if let token = request.bearerToken { lines.append("Authorization: Bearer \(token.text)") }
        func has(_ name: String) -> Bool {
            request.headers.contains { equalsIgnoringCase($0.name, name) }
        }
        if !has("User-Agent") { lines.append("User-Agent: sluice") }
        // "Name:" without a value takes out what curl would add by itself.
        lines.append("Expect:")
        if !has("Content-Type") { lines.append("Content-Type:") }
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines {
            guard let longer = curl_slist_append(list, line) else {
                check(CURLOPT_HTTPHEADER, CURLE_OUT_OF_MEMORY)
                break
            }
            list = longer
        }
        check(CURLOPT_HTTPHEADER, sluice_curl_set_list(easy, CURLOPT_HTTPHEADER, list))
        return list
    }

    /// - Returns: the list, to be freed when the handle has been cleaned up.
    mutating func setConnectTo(_ address: String?) -> UnsafeMutablePointer<curl_slist>? {
        guard let address else { return nil }
        guard let list = curl_slist_append(nil, "::" + address) else {
            check(CURLOPT_CONNECT_TO, CURLE_OUT_OF_MEMORY)
            return nil
        }
        check(CURLOPT_CONNECT_TO, sluice_curl_set_list(easy, CURLOPT_CONNECT_TO, list))
        return list
    }

    mutating func setNoBody(_ method: HTTPMethod) {
        if method == .post || method == .put || method == .patch { return setBody([], method) }
        set(method == .head ? CURLOPT_NOBODY : CURLOPT_HTTPGET, 1)
        if method != .head && method != .get { set(CURLOPT_CUSTOMREQUEST, text: method.name) }
    }

    mutating func setBody(_ bytes: [UInt8], _ method: HTTPMethod) {
        set(CURLOPT_POST, 1)
        set(CURLOPT_CUSTOMREQUEST, text: method.name)
        check(
            CURLOPT_COPYPOSTFIELDS,
            bytes.withUnsafeBytes { sluice_curl_set_body(easy, $0.baseAddress, $0.count) })
    }

    mutating func setUpload(size: Int64, _ method: HTTPMethod, _ context: UnsafeMutableRawPointer) {
        set(CURLOPT_UPLOAD, 1)
        set(CURLOPT_CUSTOMREQUEST, text: method.name)
        check(
            CURLOPT_INFILESIZE_LARGE,
            sluice_curl_set_offset(easy, CURLOPT_INFILESIZE_LARGE, curl_off_t(size)))
        check(
            CURLOPT_READFUNCTION,
            sluice_curl_set_read(
                easy,
                { bytes, size, count, context in
                    guard let bytes, let transfer = Transfer.of(context) else {
                        return curlReadAbort
                    }
                    let buffer = UnsafeMutableRawBufferPointer(start: bytes, count: size * count)
                    return transfer.readBody(into: buffer) ?? curlReadAbort
                },
                { context, offset, origin in
                    guard origin == SEEK_SET, let transfer = Transfer.of(context) else { return 1 }
                    return transfer.rewindBody(to: Int64(offset)) ? 0 : 1
                }, context))
    }

    mutating func setReceivers(_ context: UnsafeMutableRawPointer) {
        check(
            CURLOPT_HEADERFUNCTION,
            sluice_curl_set_header(
                easy,
                { bytes, size, count, context in
                    guard let bytes, let transfer = Transfer.of(context) else { return 0 }
                    let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
                    return transfer.receiveHeaderLine(line) ? size * count : 0
                }, context))
        check(
            CURLOPT_WRITEFUNCTION,
            sluice_curl_set_write(
                easy,
                { bytes, size, count, context in
                    guard let bytes, let transfer = Transfer.of(context) else { return 0 }
                    let part = UnsafeRawBufferPointer(start: bytes, count: size * count)
                    return transfer.receiveBody(part) ? size * count : 0
                }, context))
    }

    private mutating func set(_ option: CURLoption, _ value: Int) {
        check(option, sluice_curl_set_long(easy, option, value))
    }

    private mutating func set(_ option: CURLoption, text: String) {
        check(option, sluice_curl_set_text(easy, option, text))
    }

    mutating func set(_ option: CURLoption, pointer: UnsafeMutableRawPointer) {
        check(option, sluice_curl_set_pointer(easy, option, pointer))
    }

    private mutating func check(_ option: CURLoption, _ code: CURLcode) {
        guard code != CURLE_OK, failed == nil else { return }
        failed = (
            option.rawValue, String(cString: sluice_curl_code_name(code)),
            String(cString: curl_easy_strerror(code))
        )
    }
}

/// CURL_READFUNC_ABORT, a macro that Swift does not see.
private let curlReadAbort = 0x1000_0000

/// At least 1, because curl takes 0 for "no limit".
private func milliseconds(_ duration: Duration) -> Int {
    let (seconds, attoseconds) = duration.components
    guard seconds < 1_000_000 else { return 1_000_000_000 }
    return max(1, Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
}

extension Transfer {
    /// SAFETY: the context that `begin` gave to curl; the loop holds the transfer until its handle has been cleaned up.
    fileprivate static func of(_ context: UnsafeMutableRawPointer?) -> Transfer? {
        context.map { Unmanaged<Transfer>.fromOpaque($0).takeUnretainedValue() }
    }
}
