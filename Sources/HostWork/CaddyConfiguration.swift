// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc

/// What a Caddyfile says, with all that it imports, as far as held requests meet it. Read, never run.
public struct CaddyConfiguration: Sendable {
    private var directives: [Directive] = []
    private var filesLeft = 500

    /// One line, with the lines in whose blocks it stands.
    private struct Directive {
        var words: [String]
        var blocks: [[String]]
        var position: String
    }

    /// - Returns: `nil` when the file cannot be read.
    public init?(file: String) {
        guard let text = try? readTextFile(file, atMost: 1 << 20) else { return nil }
        read(text, of: file, in: [], depth: 0)
    }

    /// Whether it names something, such as the gate's socket.
    public func mentions(_ text: String) -> Bool {
        directives.contains { $0.words.contains { $0.contains(text) } }
    }

    /// Those that requests meet for which a socket is asked, and what keeps connections to sockets below a directory.
    public func bounds(asking socket: String, flipping directory: String) -> [HeldBound] {
        held(asking: socket) + kept(below: directory)
    }

    private func kept(below directory: String) -> [HeldBound] {
        directives.indices.compactMap { index in
            let directive = directives[index]
            guard directive.words.first == "reverse_proxy",
                let place = directive.words.first(where: { $0.contains(directory) })
            else { return nil }
            let inner = directives[(index + 1)...].prefix {
                $0.blocks.count > directive.blocks.count
            }
            let isOff = inner.contains {
                $0.words == ["keepalive", "off"] && $0.blocks.last?.first == "transport"
            }
            return isOff
                ? nil : HeldBound("reverse_proxy to \(place)", at: directive.position, .kept)
        }
    }

    private func held(asking socket: String) -> [HeldBound] {
        directives.compactMap { (directive: Directive) -> HeldBound? in
            let words = directive.words
            guard words.count > 1, let block = directive.blocks.last?.first else { return nil }
            let name: String
            switch (block, words[0]) {
            // Of the server, which has all of the site's requests.
            case ("timeouts", "read_body"), ("timeouts", "write"):
                name = "the server's timeout \(words[0])"
            // A request to the agent lasts as long as its answer is held back.
            case ("transport", "response_header_timeout"), ("transport", "read_timeout"):
                guard isAsking(socket, directive) else { return nil }
                name = "\(words[0]) of the question to the agent"
            case ("transport", "max_conns_per_host"):
                guard isAsking(socket, directive), let most = Int(words[1]), most > 0 else {
                    return nil
                }
                return HeldBound(
                    "max_conns_per_host of the question to the agent", at: directive.position,
                    .requests(most))
            default: return nil
            }
            guard let most = milliseconds(words[1]), most > 0 else { return nil }
            return HeldBound(name, at: directive.position, .milliseconds(most))
        }
    }

    private func isAsking(_ socket: String, _ directive: Directive) -> Bool {
        directive.blocks.contains { block in
            ["forward_auth", "reverse_proxy"].contains(block.first)
                && block.contains { $0.hasSuffix(socket) }
        }
    }

    private mutating func read(_ text: String, of file: String, in outer: [[String]], depth: Int) {
        var blocks = outer
        var number = 0
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            number += 1
            var words = words(ofLine: line)
            if words.first == "}" {
                if blocks.count > outer.count { blocks.removeLast() }
                continue
            }
            let opens = words.last == "{"
            if opens { words.removeLast() }
            if !words.isEmpty {
                directives.append(
                    Directive(words: words, blocks: blocks, position: "\(file):\(number)"))
            }
            if opens { blocks.append(words) }
            if words.first == "import", words.count > 1, depth < 10 {
                for path in Self.expanded(words[1], beside: file) where filesLeft > 0 {
                    filesLeft -= 1
                    guard let text = try? readTextFile(path, atMost: 1 << 20) else { continue }
                    read(text, of: path, in: blocks, depth: depth + 1)
                }
            }
        }
    }

    /// Nothing for the name of a snippet.
    private static func expanded(_ pattern: String, beside file: String) -> [String] {
        let pattern =
            pattern.hasPrefix("/") ? pattern : "\(parentDirectory(of: file))/\(pattern)"
        var found = glob_t()
        defer { globfree(&found) }
        guard glob(pattern, 0, nil, &found) == 0 else { return [] }
        return (0..<Int(found.gl_pathc)).compactMap { index in
            found.gl_pathv[index].map { String(cString: $0) }
        }
    }
}

/// A length of time as Go writes it: `1m30s`, `250ms`, `1.5h`; and `2d`.
func milliseconds(_ text: String) -> Int64? {
    let units: [(name: String, milliseconds: Double)] = [
        ("ms", 1), ("us", 0.001), ("ns", 0.000001), ("s", 1000), ("m", 60_000), ("h", 3_600_000),
        ("d", 86_400_000),
    ]
    var rest = text[...]
    var sum = 0.0
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
        let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        rest = rest.dropFirst(digits.count)
        guard let count = Double(digits),
            let unit = units.first(where: { rest.hasPrefix($0.name) })
        else { return nil }
        sum += count * unit.milliseconds
        rest = rest.dropFirst(unit.name.count)
    }
    return sum < 1e12 ? Int64(sum) : nil
}
