// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc

/// What a HAProxy configuration says, as far as held requests meet it. Read, never run.
public struct HAProxyConfiguration: Sendable {
    private var sections: [Section] = []
    private var texts: [String] = []

    private struct Section {
        var kind: String
        var name: String
        /// The `defaults` that it takes, by name or as the last above it.
        var parent: Int?
        var maxconn: (count: Int, position: String)?
        var binds: [(count: Int, position: String)] = []
        var servers: [(name: String, count: Int, position: String)] = []
        /// Those whose socket a flip moves.
        var flipped: [(name: String, position: String)] = []
        /// Whether a connection to a server ends with its answer.
        var closes = false
        /// Where a frontend sends requests on to.
        var backends: [String] = []
    }

    /// - Parameter path: a file, or a directory with files `*.cfg`, which HAProxy takes in the order of their names.
    /// - Returns: `nil` when nothing of it can be read.
    public init?(path: String) {
        for file in Self.files(path) {
            guard let text = try? readTextFile(file, atMost: 1 << 20) else { continue }
            texts.append(text)
            read(text, of: file)
        }
        guard !texts.isEmpty else { return nil }
    }

    /// Whether it names something, such as the agent's directory.
    public func mentions(_ text: String) -> Bool { texts.contains { $0.contains(text) } }

    /// Those that requests meet which a frontend takes that has `defaults` of this name among its own.
    public func bounds(fromDefaults name: String) -> [HeldBound] {
        let gated = sections.filter {
            ["frontend", "listen"].contains($0.kind) && has(name, $0)
        }
        guard !gated.isEmpty else { return [] }
        var bounds: [HeldBound] = []
        for section in sections where section.kind == "global" {
            if let (count, position) = section.maxconn {
                bounds.append(HeldBound("global maxconn", at: position, .requests(count)))
            }
        }
        for section in gated {
            let words = "of the \(section.kind) \(section.name)"
            if let (count, position) = maxconn(section) {
                bounds.append(HeldBound("maxconn \(words)", at: position, .requests(count)))
            }
            for (count, position) in section.binds {
                bounds.append(
                    HeldBound("maxconn of a bind \(words)", at: position, .requests(count)))
            }
            for backend in [section] + sections.filter({ isBackend($0, of: section) }) {
                for (server, count, position) in backend.servers {
                    bounds.append(
                        HeldBound(
                            "maxconn of the server \(server) of \(backend.name)", at: position,
                            .passing(count)))
                }
                if isSo(\.closes, backend) || isSo(\.closes, section) { continue }
                for (server, position) in backend.flipped {
                    bounds.append(
                        HeldBound("the server \(server) of \(backend.name)", at: position, .kept))
                }
            }
        }
        var seen: Set<HeldBound> = []
        return bounds.filter { seen.insert($0).inserted }
    }

    private func isBackend(_ section: Section, of frontend: Section) -> Bool {
        section.kind == "backend" && frontend.backends.contains(section.name)
    }

    /// Whether something is so of a section or of one of its `defaults`.
    private func isSo(_ trait: KeyPath<Section, Bool>, _ section: Section) -> Bool {
        var next: Section? = section
        while let one = next {
            if one[keyPath: trait] { return true }
            next = one.parent.map { sections[$0] }
        }
        return false
    }

    /// Of a frontend itself, or of its nearest `defaults` that has one.
    private func maxconn(_ section: Section) -> (count: Int, position: String)? {
        var next: Section? = section
        while let one = next {
            if let found = one.maxconn { return found }
            next = one.parent.map { sections[$0] }
        }
        return nil
    }

    private func has(_ defaults: String, _ section: Section) -> Bool {
        var next = section.parent
        while let index = next {
            if sections[index].name == defaults { return true }
            next = sections[index].parent
        }
        return false
    }
}

// MARK: Reading

extension HAProxyConfiguration {
    private static let kinds: Set<String> = [
        "global", "defaults", "frontend", "listen", "backend", "cache", "peers", "resolvers",
        "userlist", "mailers", "program", "http-errors", "ring", "fcgi-app", "log-forward",
    ]

    private static func files(_ path: String) -> [String] {
        var found = glob_t()
        defer { globfree(&found) }
        guard glob("\(path)/*.cfg", 0, nil, &found) == 0 else { return [path] }
        return (0..<Int(found.gl_pathc)).compactMap { index in
            found.gl_pathv[index].map { String(cString: $0) }
        }
    }

    private mutating func read(_ text: String, of file: String) {
        var number = 0
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            number += 1
            let words = words(ofLine: line)
            guard let first = words.first else { continue }
            if Self.kinds.contains(first) {
                begin(first, Array(words.dropFirst()))
            } else if !sections.isEmpty {
                take(first, Array(words.dropFirst()), "\(file):\(number)")
            }
        }
    }

    private mutating func begin(_ kind: String, _ words: [String]) {
        let from = words.firstIndex(of: "from").flatMap { words.dropFirst($0 + 1).first }
        let name = words.first.map { $0 == "from" ? "" : $0 } ?? ""
        let parent = sections.lastIndex {
            $0.kind == "defaults" && (from == nil || $0.name == from)
        }
        let isFirst = kind == "defaults" && from == nil
        let takesDefaults = ["defaults", "frontend", "listen", "backend"].contains(kind)
        sections.append(
            Section(kind: kind, name: name, parent: takesDefaults && !isFirst ? parent : nil))
    }

    private mutating func take(_ word: String, _ words: [String], _ position: String) {
        let last = sections.count - 1
        let count = words.firstIndex(of: "maxconn").flatMap { index in
            index + 1 < words.count ? Int(words[index + 1]) : nil
        }
        switch word {
        case "maxconn":
            guard let most = words.first.flatMap({ Int($0) }) else { break }
            sections[last].maxconn = (most, position)
        case "bind":
            if let count { sections[last].binds.append((count, position)) }
        case "server":
            guard let name = words.first else { break }
            if words.count > 1, words[1].contains("/current/") {
                sections[last].flipped.append((name, position))
            }
            // 0 is no bound.
            if let count, count > 0 { sections[last].servers.append((name, count, position)) }
        case "option":
            let ends = ["http-server-close", "httpclose"].contains(words.first)
            sections[last].closes = sections[last].closes || ends
        case "default_backend", "use_backend":
            if let name = words.first { sections[last].backends.append(name) }
        default: break
        }
    }
}
