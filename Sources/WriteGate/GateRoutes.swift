// SPDX-License-Identifier: Apache-2.0

/// Routes whose method says the opposite of what they do.
///
/// `POST /api/search*` that only reads, `GET /unsubscribe` that writes. A write that is listed as a read gets past the
/// gate in the write window; the fence in the database is then the only wall.
public struct GateRoutes: Hashable, Sendable {
    /// Requests of other methods than the safe ones that only read.
    public var reading: [GateRoute]
    /// Requests of safe methods that write.
    public var writing: [GateRoute]

    public init(reading: [GateRoute] = [], writing: [GateRoute] = []) {
        self.reading = reading
        self.writing = writing
    }

    /// The methods that HTTP and its extensions call safe: they ask for nothing to be changed.
    static let safeMethods: Set<String> = [
        "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY",
    ]

    /// Decides for proxies that do not decide by themselves.
    ///
    /// - Parameter target: path and query as the client sent them. A path that cannot be normalised counts as a write.
    func kind(method: String, target: String) -> RequestKind {
        let reads = Self.safeMethods.contains(method)
        if reads && writing.isEmpty { return .read }
        if !reads && reading.isEmpty { return .write }
        guard let path = normalisedPath(target) else { return .write }
        if writing.contains(where: { $0.matches(method: method, path: path) }) { return .write }
        if reads { return .read }
        return reading.contains(where: { $0.matches(method: method, path: path) }) ? .read : .write
    }

    /// The `map` block `$sluice_kind` of an nginx configuration, for the `http` level.
    ///
    /// It takes the place of `sluice-routes.conf` in the snippets. nginx matches `$uri`, which it has decoded and
    /// normalised.
    public var nginxMap: String {
        var lines = [
            "map \"$request_method $uri\" $sluice_kind {", "    default $sluice_kind_by_method;",
        ]
        for (routes, kind) in [(writing, "write"), (reading, "read")] {
            lines += routes.map { "    \"\($0.nginxPattern)\" \(kind);" }
        }
        return (lines + ["}", ""]).joined(separator: "\n")
    }
}

/// A method and a path, exact or (with `*` at its end) a prefix: `POST /api/search*`.
public struct GateRoute: Hashable, Sendable, CustomStringConvertible {
    public let method: String
    public let path: String
    public let isPrefix: Bool

    /// - Returns: `nil` unless the text is an upper-case method, one space, and a path of `A-Z a-z 0-9 . _ ~ / -` that
    ///   begins with `/`, has no `//`, `/./` or `/../`, and at most one `*`, at its end.
    public init?(_ text: String) {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count <= 512 else { return nil }
        let method = parts[0]
        guard (1...20).contains(method.utf8.count),
            method.utf8.allSatisfy({ (65...90).contains($0) })
        else { return nil }
        isPrefix = parts[1].hasSuffix("*")
        let path = isPrefix ? parts[1].dropLast() : parts[1]
        guard path.hasPrefix("/"), path.utf8.allSatisfy(Self.isPathByte), !path.contains("//"),
            !path.split(separator: "/").contains(where: { $0 == "." || $0 == ".." })
        else { return nil }
        self.method = String(method)
        self.path = String(path)
    }

    public var description: String { "\(method) \(path)\(isPrefix ? "*" : "")" }

    func matches(method: String, path: String) -> Bool {
        // A HEAD request runs what a GET request runs.
        let same = method == self.method || (method == "HEAD" && self.method == "GET")
        return same && (isPrefix ? path.hasPrefix(self.path) : path == self.path)
    }

    private static func isPathByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"), UInt8(ascii: "/"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// A regular expression whose `\z` is the very end: `$` would match before a line feed as well.
    fileprivate var nginxPattern: String {
        let method = method == "GET" ? "(GET|HEAD)" : method
        let escaped = path.map { $0 == "." ? "\\." : String($0) }.joined()
        return "~^\(method) \(escaped)\(isPrefix ? "" : "\\z")"
    }
}

/// The path of a request target: decoded once, without query, empty and dot segments.
///
/// - Returns: `nil` when it is not an absolute path, decodes to control characters, or climbs above the root.
func normalisedPath(_ target: String) -> String? {
    let raw = target.utf8.prefix(while: { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") })
    var bytes: [UInt8] = []
    var rest = raw[...]
    while let byte = rest.popFirst() {
        var decoded = byte
        if byte == UInt8(ascii: "%") {
            guard rest.count >= 2, let high = hexadecimal(rest.removeFirst()),
                let low = hexadecimal(rest.removeFirst())
            else { return nil }
            decoded = high << 4 | low
        }
        guard decoded >= 32, decoded != 127 else { return nil }
        bytes.append(decoded)
    }
    guard bytes.first == UInt8(ascii: "/") else { return nil }
    var segments: [ArraySlice<UInt8>] = []
    for segment in bytes.split(separator: UInt8(ascii: "/")) {
        if segment.elementsEqual(".".utf8) { continue }
        if segment.elementsEqual("..".utf8) {
            guard segments.popLast() != nil else { return nil }
            continue
        }
        segments.append(segment)
    }
    let slash = bytes.count > 1 && bytes.last == UInt8(ascii: "/") && !segments.isEmpty ? "/" : ""
    return "/" + segments.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/") + slash
}

private func hexadecimal(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
