// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What is wrong with a request, before anything is sent. Nothing that could end a line or a header gets past this.
func findingInRequest(_ request: HTTPRequest) -> String? {
    findingInURL(request.url)
        ?? request.headers.lazy.compactMap(findingInHeader).first
        ?? findingInSizes(request)
        ?? request.bearerToken.flatMap(findingInToken)
        ?? request.unixSocket.flatMap(findingInSocketPath)
        ?? request.connectTo.flatMap(findingInConnectTo)
}

private func findingInURL(_ url: String) -> String? {
    guard url.utf8.count <= 8192 else { return "the URL is longer than 8192 bytes" }
    guard url.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
        return "the URL has a space, a control character or a byte outside ASCII; percent-encode it"
    }
    guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
        return "the URL must begin with http:// or https://"
    }
    let afterScheme = url.dropFirst(url.hasPrefix("https://") ? 8 : 7)
    let authority = afterScheme.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    guard !authority.isEmpty else { return "the URL has no host" }
    guard !authority.contains("@"), !authority.contains("\\") else {
        return
            "the URL has a user name or a backslash before its path; give credentials as a header"
    }
    return url.contains("#") ? "the URL has a fragment (#), which no server sees; remove it" : nil
}

/// The headers that say where a request ends belong to curl: two opinions on that are how requests are smuggled.
private let ownHeaders = ["Content-Length", "Transfer-Encoding", "Expect", "Connection"]

private func findingInHeader(_ header: HTTPHeader) -> String? {
    guard isToken(header.name), header.name.utf8.count <= 128 else {
        return "a header name is empty, too long, or has a character that is not allowed in one"
    }
    guard !ownHeaders.contains(where: { equalsIgnoringCase($0, header.name) }) else {
        return "the header \(header.name) is set by the client itself; remove it"
    }
    guard header.value.utf8.allSatisfy({ $0 == 9 || ($0 >= 32 && $0 != 127) }) else {
        return "the value of the header \(header.name) has a line break or a control character"
    }
    return nil
}

private func findingInSizes(_ request: HTTPRequest) -> String? {
    let total = request.headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
    guard request.headers.count <= 100, total <= 32_768 else {
        return "more than 100 headers, or more than 32 KiB of them"
    }
    guard request.maximumBody >= 0 else { return "maximumBody is negative" }
    if let range = request.range {
        guard range.first >= 0, range.last.map({ $0 >= range.first }) ?? true else {
            return "the range ends before it begins"
        }
    }
    return nil
}

private func findingInToken(_ token: HTTPSecret) -> String? {
    let bytes = token.text.utf8
    guard !bytes.isEmpty, bytes.count <= 4096, bytes.allSatisfy({ (0x21...0x7e).contains($0) })
    else {
        return "the bearer token is empty, too long, or has a space or a character outside ASCII"
    }
    return nil
}

private func findingInSocketPath(_ path: String) -> String? {
    let limit = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1
    guard path.hasPrefix("/"), !path.utf8.contains(0), path.utf8.count <= limit else {
        return "the socket path \(path) must be absolute and at most \(limit) bytes long"
    }
    return nil
}

private func findingInConnectTo(_ text: String) -> String? {
    HTTPAddress("http://\(text)")?.port == nil
        ? "the address \(text) to connect to must be a host with a port" : nil
}

/// A token of RFC 9110, section 5.6.2.
func isToken(_ text: String) -> Bool {
    !text.isEmpty
        && text.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                || tokenMarks.contains($0)
        }
}

private let tokenMarks = Set("!#$%&'*+-.^_`|~".utf8)
