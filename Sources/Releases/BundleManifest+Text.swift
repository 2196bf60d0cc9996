// SPDX-License-Identifier: Apache-2.0

internal import UpgradeModel

/// The canonical encoding, version 1: lines of UTF-8, each ended by one line feed.
///
/// ```
/// sluice-bundle 1
/// release v2
/// assets static/assets        (or "assets" alone when there is none)
/// entries 2
/// size 1234
/// f <64 hexadecimal digits> 1200 app.py
/// x <64 hexadecimal digits> 34 bin/start
/// ```
///
/// `f` is a file, `x` an executable one. A manifest with links is of version 2, and after the files it has a line for each:
/// `l <bytes of the target> <target> <path>`, such as `l 5 ../pg node_modules/pg`; `entries` counts them too. There is exactly one encoding of a manifest: what does not come back byte for byte
/// when it is encoded again is refused.
extension BundleManifest {
    public var encoded: [UInt8] {
        let version = links.isEmpty ? 1 : 2
        var text =
            "sluice-bundle \(version)\nrelease \(name)\nassets\(assets.map { " \($0)" } ?? "")\n"
        text += "entries \(entries.count + links.count)\nsize \(totalSize)\n"
        for entry in entries {
            text +=
                "\(entry.isExecutable ? "x" : "f") \(entry.digest) \(entry.size) \(entry.path)\n"
        }
        for link in links { text += "l \(link.target.utf8.count) \(link.target) \(link.path)\n" }
        return Array(text.utf8)
    }

    /// Reads a manifest that may come from anybody.
    ///
    /// - Throws: ``ReleaseFailure/Code/invalidManifest`` with the line and what is wrong with it.
    public init(parsing bytes: [UInt8], limits: SizeLimits = SizeLimits()) throws(ReleaseFailure) {
        guard bytes.count <= limits.encodedSize else {
            throw BundleManifest.refused(
                "it has \(bytes.count) bytes, the limit is \(limits.encodedSize)")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw BundleManifest.refused("it is not UTF-8")
        }
        var lines = Lines(text)
        let first = lines.next()
        guard first == "sluice-bundle 1" || first == "sluice-bundle 2" else {
            throw BundleManifest.refused(
                "its first line is not \"sluice-bundle 1\"; is it of a newer version?")
        }
        guard let name = try lines.value("release").flatMap({ ReleaseName(String($0)) }) else {
            throw lines.refused("a release name of A-Z a-z 0-9 . _ - is expected")
        }
        let assets = try lines.value("assets")
        guard let count = try lines.value("entries").flatMap({ Int($0) }), count >= 0,
            count <= limits.entries
        else { throw lines.refused("a number of entries of at most \(limits.entries) is expected") }
        guard let size = try lines.value("size").flatMap({ Int64($0) }) else {
            throw lines.refused("a size in bytes is expected")
        }
        var entries: [Entry] = []
        var links: [Link] = []
        entries.reserveCapacity(count)
        for _ in 0..<count {
            switch try lines.entry() {
            case .file(let entry): entries.append(entry)
            case .link(let link): links.append(link)
            }
        }
        var assetsPath: BundlePath?
        if let assets { assetsPath = try lines.path(assets) }
        try self.init(
            name: name, entries: entries, links: links, assets: assetsPath, limits: limits)
        guard size == totalSize else {
            throw BundleManifest.refused(
                "it says \(size) bytes in all, its files have \(totalSize)")
        }
        guard encoded == bytes else {
            throw BundleManifest.refused(
                "it is not in canonical form: entries sorted by path, numbers without leading zeros, one line "
                    + "feed after each line and nothing after the last")
        }
    }

    private struct Lines {
        private var rest: Substring.UTF8View
        private var number = 0

        init(_ text: String) { rest = text[...].utf8 }

        mutating func next() -> Substring? {
            guard let end = rest.firstIndex(of: 10) else { return nil }
            defer { rest = rest[rest.index(after: end)...] }
            number += 1
            return Substring(rest[..<end])
        }

        /// The text after the keyword and one space; `nil` when there is only the keyword.
        mutating func value(_ keyword: String) throws(ReleaseFailure) -> Substring? {
            guard let line = next(), line.utf8.starts(with: keyword.utf8) else {
                throw refused("\"\(keyword)\" is expected")
            }
            let rest = line.utf8.dropFirst(keyword.utf8.count)
            guard let separator = rest.first else { return nil }
            guard separator == 32 else {
                throw refused("\"\(keyword)\" and one space are expected")
            }
            return Substring(rest.dropFirst())
        }

        enum Item {
            case file(Entry)
            case link(Link)
        }

        mutating func entry() throws(ReleaseFailure) -> Item {
            guard let line = next() else {
                throw refused("an entry is missing; was the manifest cut off?")
            }
            if line.utf8.starts(with: "l ".utf8) { return .link(try link(line)) }
            let parts = line.utf8.split(
                separator: 32, maxSplits: 3, omittingEmptySubsequences: false
            )
            .map { Substring($0) }
            guard parts.count == 4, parts[0] == "f" || parts[0] == "x" else {
                throw refused("\"f\" or \"x\", a digest, a size and a path are expected")
            }
            guard let digest = Digest(String(parts[1])) else {
                throw refused("the digest is not 64 lower-case hexadecimal digits")
            }
            guard let size = Int64(parts[2]), size >= 0 else {
                throw refused("the size is not a number")
            }
            return .file(
                Entry(
                    path: try path(parts[3]), digest: digest, size: size,
                    isExecutable: parts[0] == "x"))
        }

        /// The target comes with its length, because it may have spaces in it, as the path may.
        private func link(_ line: Substring) throws(ReleaseFailure) -> Link {
            let parts = line.utf8.split(
                separator: 32, maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, let count = Int(Substring(parts[1])), count > 0,
                count < parts[2].count,
                let target = String(parts[2].prefix(count)),
                parts[2].dropFirst(count).first == 32
            else {
                throw refused("\"l\", the bytes of a target, the target and a path are expected")
            }
            return Link(path: try path(Substring(parts[2].dropFirst(count + 1))), target: target)
        }

        func path(_ text: Substring) throws(ReleaseFailure) -> BundlePath {
            do throws(BundlePath.Reason) { return try BundlePath(String(text)) } catch {
                throw refused("the path \(shown(text)) \(error.text)")
            }
        }

        func refused(_ reason: String) -> ReleaseFailure {
            BundleManifest.refused("line \(max(1, number)): \(reason)")
        }
    }
}

/// A text of a stranger, short and on one line.
func shown(_ text: some StringProtocol) -> String {
    let clean = text.unicodeScalars.prefix(80).map {
        $0.value < 32 || $0.value == 127 ? "?" : String($0)
    }
    return "\"\(clean.joined())\(text.unicodeScalars.count > 80 ? "…" : "")\""
}
