// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc

/// What an nginx configuration says, with all that it includes, as far as held requests meet it.
///
/// Read, never run: `nginx -T` would need the rights to every key of every site.
public struct ProxyConfiguration: Sendable {
    /// `nil`: as many as there are processors.
    public private(set) var workers: Int?
    /// Of one worker.
    public private(set) var connections = 512
    /// Each `limit_conn`, with what is counted by.
    public private(set) var shares: [ConnectionLimit] = []
    /// Where it passes requests on to, as far as that is written out: `unix:/path`, `127.0.0.1:8000`; 100 at most.
    public private(set) var backends: [String] = []
    /// How many requests one HTTP/2 connection may have under way, the least of all; `nil` where nobody speaks HTTP/2.
    public var requestsOfConnection: Int? { speaksHTTP2 ? streams ?? 128 : nil }

    public struct ConnectionLimit: Hashable, Sendable {
        public var zone: String
        public var key: String
        public var atMost: Int
        public var position: String
    }

    /// Each upstream with `keepalive`, with the sockets that are its servers.
    public private(set) var keeping: [KeepingUpstream] = []

    public struct KeepingUpstream: Hashable, Sendable {
        public var name: String
        public var servers: [String]
        public var position: String
    }

    /// How long it waits for an answer to the gate's question; 16 at most.
    public private(set) var asking: [HeldBound] = []

    private var upstream: (name: String, servers: [String])?
    private var speaksHTTP2 = false
    private var streams: Int?
    private var keys: [String: String] = [:]
    private var texts: [String] = []
    private var filesLeft = 500
    private let directory: String

    /// - Returns: `nil` when the file cannot be read.
    public init?(file: String) {
        directory = parentDirectory(of: file)
        guard let text = try? readTextFile(file, atMost: 1 << 20) else { return nil }
        read(text, of: file, depth: 0)
        for index in shares.indices { shares[index].key = keys[shares[index].zone] ?? "" }
    }

    /// Whether it names something, such as the gate's socket: another nginx of the machine says nothing of this one.
    public func mentions(_ text: String) -> Bool { texts.contains { $0.contains(text) } }

    private mutating func read(_ text: String, of file: String, depth: Int) {
        texts.append(text)
        var isQuestion = false
        for directive in nginxDirectives(text) {
            let words = directive.words
            guard let name = words.first, words.count > 1 else { continue }
            let position = "\(file):\(directive.line)"
            switch name {
            case "worker_processes": workers = Int(words[1])
            case "worker_connections": connections = Int(words[1]) ?? connections
            case "listen": speaksHTTP2 = speaksHTTP2 || words.dropFirst(2).contains("http2")
            case "http2": speaksHTTP2 = speaksHTTP2 || words[1] == "on"
            case "http2_max_concurrent_streams":
                guard let most = Int(words[1]), most > 0 else { break }
                streams = min(streams ?? most, most)
            case "limit_conn_zone":
                guard let zone = words.first(where: { $0.hasPrefix("zone=") }) else { break }
                let zoneName = zone.dropFirst(5).prefix { $0 != ":" }
                keys[String(zoneName)] = words[1]
            case "limit_conn" where words.count > 2:
                guard let most = Int(words[2]), shares.count < 16 else { break }
                shares.append(
                    ConnectionLimit(zone: words[1], key: "", atMost: most, position: position))
            case "upstream": upstream = (words[1], [])
            case "keepalive":
                guard let upstream, keeping.count < 16 else { break }
                keeping.append(
                    KeepingUpstream(
                        name: upstream.name, servers: upstream.servers, position: position))
            case "server", "proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass":
                if name == "server" { upstream?.servers.append(words[1]) }
                note(backend: words[1])
            case "location": isQuestion = words.last == "/_sluice/admit"
            case "proxy_read_timeout" where isQuestion && asking.count < 16:
                // Without a unit nginx takes seconds.
                let isBare = words[1].utf8.allSatisfy { (48...57).contains($0) }
                let time = isBare ? "\(words[1])s" : words[1]
                guard let most = milliseconds(time) else { break }
                asking.append(
                    HeldBound(
                        "proxy_read_timeout of the question to the agent", at: position,
                        .milliseconds(most)))
            case "include" where depth < 10:
                for path in expanded(words[1]) where filesLeft > 0 {
                    filesLeft -= 1
                    guard let text = try? readTextFile(path, atMost: 1 << 20) else { continue }
                    read(text, of: path, depth: depth + 1)
                }
            default: break
            }
        }
    }

    private mutating func note(backend text: String) {
        let place = text.split(separator: "://", maxSplits: 1).last.map(String.init) ?? text
        let parts = place.split(separator: ":", omittingEmptySubsequences: false)
        let backend =
            place.hasPrefix("unix:") && parts.count > 1
            ? "unix:\(parts[1])" : String(place.prefix { $0 != "/" })
        // What a variable stands for is known to nginx only, and so is an upstream's name, which has no port.
        guard !backend.contains("$"), backend.contains(":"), !backends.contains(backend),
            backends.count < 100
        else { return }
        backends.append(backend)
    }

    private func expanded(_ pattern: String) -> [String] {
        let pattern = pattern.hasPrefix("/") ? pattern : "\(directory)/\(pattern)"
        var found = glob_t()
        defer { globfree(&found) }
        guard glob(pattern, 0, nil, &found) == 0 else { return [] }
        return (0..<Int(found.gl_pathc)).compactMap { index in
            found.gl_pathv[index].map { String(cString: $0) }
        }
    }
}

/// One directive: its name and its arguments, without what is in its block, which comes after it.
struct NginxDirective: Hashable {
    var words: [String]
    var line: Int
}

/// The directives of a text in their order, blocks taken apart.
func nginxDirectives(_ text: String) -> [NginxDirective] {
    var directives: [NginxDirective] = []
    var words: [String] = []
    var word: [UInt8]?
    var line = 1
    var quote: UInt8?
    var isComment = false
    var isEscaped = false
    func end(_ byte: UInt8) {
        if let bytes = word { words.append(String(decoding: bytes, as: UTF8.self)) }
        word = nil
        guard byte == UInt8(ascii: ";") || byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}")
        else { return }
        if !words.isEmpty { directives.append(NginxDirective(words: words, line: line)) }
        words = []
    }
    for byte in text.utf8 {
        if byte == 10 { line += 1 }
        if isComment {
            isComment = byte != 10
        } else if isEscaped {
            word = (word ?? []) + [byte]
            isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
            isEscaped = true
        } else if let open = quote {
            if byte == open { quote = nil } else { word = (word ?? []) + [byte] }
        } else if word == nil, byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
            quote = byte
            word = []
        } else if word == nil, byte == UInt8(ascii: "#") {
            isComment = true
        } else if byte == 32 || byte == 9 || byte == 10 || byte == 13 {
            end(byte)
        } else if byte == UInt8(ascii: ";") || byte == UInt8(ascii: "}") {
            end(byte)
        } else if byte == UInt8(ascii: "{"), word.map({ $0.last != UInt8(ascii: "$") }) ?? true {
            end(byte)
        } else {
            word = (word ?? []) + [byte]
        }
    }
    return directives
}
