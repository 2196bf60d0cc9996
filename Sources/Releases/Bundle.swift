// SPDX-License-Identifier: Apache-2.0

internal import ContentDigest
public import UpgradeModel

/// A release on the operator's disk, before any node has it: a directory and the manifest of what is in it.
public struct Bundle: Sendable {
    public let manifest: BundleManifest
    /// The directory as it was given, without a slash at the end.
    public let directory: String
    /// What does not stop the bundle but is not as one may think, such as an empty directory.
    public let warnings: [Diagnostic]
    /// What is not on the disk: by digest.
    public private(set) var contents: [Digest: [UInt8]] = [:]

    /// The one file of a release that is no bundle but a version: what the nodes' own actions call it.
    public static let versionFile = ".sluice-version"

    /// A release that names a version, for the nodes' own actions.
    ///
    /// - Throws: when the release's name cannot be that of one.
    public static func naming(
        version: String, name: ReleaseName
    ) throws(ReleaseFailure) -> Bundle {
        let bytes = Array("\(version)\n".utf8)
        let digest = Digest.sha256(of: bytes)
        let path: BundlePath
        do throws(BundlePath.Reason) { path = try BundlePath(versionFile) } catch {
            throw ReleaseFailure(.invalidManifest, "\(versionFile) \(error.text)")
        }
        let entry = BundleManifest.Entry(path: path, digest: digest, size: Int64(bytes.count))
        let manifest = try BundleManifest(name: name, entries: [entry], assets: nil)
        var bundle = Bundle(manifest: manifest, directory: "", warnings: [])
        bundle.contents = [digest: bytes]
        return bundle
    }

    /// Why a directory is no bundle: everything that was found, 100 errors and 100 warnings at most.
    public struct NotABundle: Error, Hashable, Sendable, CustomStringConvertible {
        public let findings: [Diagnostic]

        public init(findings: [Diagnostic]) { self.findings = findings }

        public var description: String { findings.map(\.description).joined(separator: "\n") }
    }

    /// Reads every file of a directory.
    ///
    /// The result depends on names, contents and the owner's execute bits only, not on times, owners or the order on disk. All
    /// that is there belongs to the bundle, hidden files too; what cannot belong to one (links that lead out of it, devices, sockets,
    /// pipes) is a finding. Blocks for as long as the reading takes: call it off the shared pool.
    ///
    /// - Parameters:
    ///   - directory: a link to a directory is followed, as `current` often is one.
    ///   - assets: the directory, relative to the bundle, of files whose names change with their content.
    ///   - shared: paths that are left out, because each node has its own.
    ///   - targets: what links say in the bundle, where that is not what they say on the disk.
    ///   - progress: called with the number of files read so far, often; must be quick.
    /// - Throws: ``NotABundle``.
    public static func read(
        directory: String, name: ReleaseName, assets: String? = nil,
        limits: BundleManifest.SizeLimits = BundleManifest.SizeLimits(),
        leavingOut shared: [BundlePath] = [], linking targets: [BundlePath: String] = [:],
        progress: @escaping (Int) -> Void = { _ in }
    ) throws(NotABundle) -> Bundle {
        var top = directory
        while top.count > 1 && top.hasSuffix("/") { top.removeLast() }
        var reader = BundleReader(
            top: top, limits: limits, shared: Set(shared), targets: targets)
        reader.progress = progress
        reader.readAll()
        var assetsPath: BundlePath?
        if var assets {
            while assets.hasSuffix("/") { assets.removeLast() }
            do throws(BundlePath.Reason) { assetsPath = try BundlePath(assets) } catch {
                reader.find(
                    "bundle-path", "the assets directory \(shown(assets)) \(error.text)", nil)
            }
        }
        if !reader.findings.isEmpty {
            throw NotABundle(findings: reader.findings + reader.warnings)
        }
        do throws(ReleaseFailure) {
            let manifest = try BundleManifest(
                name: name, entries: reader.entries, links: reader.links, assets: assetsPath,
                limits: limits)
            reader.warnOfAssets(of: manifest)
            return Bundle(manifest: manifest, directory: top, warnings: reader.warnings)
        } catch {
            let finding = Diagnostic(.error, code: "bundle", "\(top): \(error.message)")
            throw NotABundle(findings: [finding] + reader.warnings)
        }
    }

    /// Where the content of an entry is, for uploading it.
    public func file(of entry: BundleManifest.Entry) -> String { "\(directory)/\(entry.path)" }
}

private struct BundleReader {
    let top: String
    let limits: BundleManifest.SizeLimits
    fileprivate let files = FileSystem()
    private let shared: Set<BundlePath>
    private let targets: [BundlePath: String]
    var progress: (Int) -> Void = { _ in }
    private(set) var entries: [BundleManifest.Entry] = []
    private(set) var links: [BundleManifest.Link] = []
    private(set) var findings: [Diagnostic] = []
    fileprivate(set) var warnings: [Diagnostic] = []
    /// Bytecode that goes by times: how many, and one of them.
    private var timedBytecode: (count: Int, first: String) = (0, "")

    init(
        top: String, limits: BundleManifest.SizeLimits, shared: Set<BundlePath>,
        targets: [BundlePath: String]
    ) {
        self.top = top
        self.limits = limits
        self.shared = shared
        self.targets = targets
    }

    mutating func readAll() {
        do throws(ReleaseFailure) {
            // A link as the bundle itself is followed; what it leads to may be reached through a path of its own.
            let behind = try files.status(top + "/.")
            let there = try files.status(top)
            guard let status = behind ?? there else {
                return find(
                    "bundle-missing", "\(top) is not there",
                    "give the directory of the built release")
            }
            guard status.kind == .directory else {
                return find(
                    "bundle-missing", "\(top) is not a directory", "give the directory, not a file")
            }
            try readDirectory(nil)
            warnOfDanglingLinks()
            warnOfBytecode()
        } catch { find("bundle-unreadable", error.message, nil) }
    }

    fileprivate mutating func warn(_ code: String, _ message: String, _ advice: String) {
        if warnings.count < 100 {
            warnings.append(Diagnostic(.warning, code: code, message, advice: advice))
        }
    }

    mutating func find(_ code: String, _ message: String, _ advice: String?) {
        if findings.count < 100 {
            findings.append(Diagnostic(.error, code: code, message, advice: advice))
        }
    }

    private mutating func readDirectory(_ directory: BundlePath?) throws(ReleaseFailure) {
        let location = directory.map { "\(top)/\($0)" } ?? top
        let (names, unreadable) = try files.listing(of: location)
        for name in unreadable {
            find("bundle-path", "a name in \(location) is not UTF-8, \(name)", "rename it")
        }
        if names.isEmpty, unreadable.isEmpty, directory != nil {
            warn(
                "bundle-empty-directory", "\(location) is empty and will not exist on the nodes",
                "put a file into it when the application needs it")
        }
        for name in names {
            let text = directory.map { "\($0)/\(name)" } ?? name
            do throws(BundlePath.Reason) { readOne(try BundlePath(text)) } catch {
                find("bundle-path", "\(top)/\(shown(text)): the path \(error.text)", "rename it")
            }
            // One too many is enough: the manifest will say so.
            guard entries.count + links.count <= limits.entries else { return }
        }
    }

    private mutating func readOne(_ path: BundlePath) {
        let location = "\(top)/\(path)"
        if shared.contains(path) { return }
        do throws(ReleaseFailure) {
            guard let status = try files.status(location) else {
                return find(
                    "bundle-changed", "\(location) vanished while it was read", "build, then bundle"
                )
            }
            switch status.kind {
            case .directory: try readDirectory(path)
            case .file:
                let (digest, size) = try files.digest(location)
                guard size == status.size else {
                    return find(
                        "bundle-changed", "\(location) changed while it was read",
                        "build, then bundle")
                }
                guard status.mode & 0o6000 == 0 else {
                    return find(
                        "bundle-mode", "\(location) is setuid or setgid, which a release never is",
                        "chmod a-s it")
                }
                entries.append(
                    BundleManifest.Entry(
                        path: path, digest: digest, size: size,
                        isExecutable: status.mode & 0o100 != 0))
                progress(entries.count)
                if path.text == ReleaseNeeds.file { try readNeeds(location) }
                try warn(of: path, at: location, size)
            case .link:
                let said = try files.target(ofLink: location)
                readLink(path, targets[path] ?? said ?? "")
            case .other:
                find(
                    "bundle-special",
                    "\(location) is a device, a socket or a pipe, which a bundle cannot have",
                    "remove it")
            }
        } catch { find("bundle-unreadable", error.message, "make it readable, or remove it") }
    }

    private mutating func readNeeds(_ location: String) throws(ReleaseFailure) {
        let bytes = try files.read(location, limit: ReleaseNeeds.sizeLimit)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            return find("bundle-needs", "\(location) is not UTF-8", "write plain lines")
        }
        do throws(Bundle.NotABundle) {
            _ = try ReleaseNeeds(parsing: text, of: location)
        } catch { findings += error.findings.prefix(max(0, 100 - findings.count)) }
    }

    private mutating func readLink(_ path: BundlePath, _ target: String) {
        guard let problem = BundleManifest.problem(with: target, of: path) else {
            return links.append(BundleManifest.Link(path: path, target: target))
        }
        find(
            "bundle-link", "the link \(top)/\(path) \(problem)",
            "make it relative and let it lead into the bundle; what each node has itself (uploads, logs) is named under "
                + "`application.shared` of its agent.yaml and left out here")
    }
}

// MARK: - What is not as one may think

extension BundleReader {
    /// Names of files that hold secrets in most projects.
    private static let secrets: Set<String> = [
        ".env", ".netrc", ".pgpass", ".htpasswd", ".git-credentials", ".npmrc", ".pypirc", "id_rsa",
        "id_ecdsa", "id_ed25519", "master.key", "credentials.json", "secrets.yml", "secrets.yaml",
        "secrets.json", ".vault_pass", "service-account.json",
    ]

    fileprivate mutating func warn(of path: BundlePath, at location: String, _ size: Int64)
        throws(ReleaseFailure)
    {
        let name = path.text.split(separator: "/").last.map(String.init) ?? ""
        let isKey = name.hasSuffix(".key") || name.hasSuffix(".p12") || name.hasSuffix(".pfx")
        let isEnvironment = name.hasPrefix(".env.") && !name.hasSuffix(".example")
        if BundleReader.secrets.contains(name) || isKey || isEnvironment
            || path.text == ".git/config" || path.text.hasSuffix("/.aws/credentials")
        {
            warn(
                "bundle-secret",
                "\(location) looks like a secret; whoever can read the release can read it",
                "leave it out, and let each node have its own: `application.shared` in agent.yaml")
        }
        // Beside its source, bytecode is never looked at; without a source, times are not.
        guard name.hasSuffix(".pyc"), path.parent?.text.hasSuffix("__pycache__") == true,
            size >= 16, size < 64 << 20
        else { return }
        let header = try files.read(location, limit: 64 << 20).prefix(8)
        // PEP 552: 0 means that it counts only beside a source of the same time, and times are not kept.
        guard header.dropFirst(4).allSatisfy({ $0 == 0 }) else { return }
        if timedBytecode.count == 0 { timedBytecode.first = location }
        timedBytecode.count += 1
    }

    private mutating func warnOfBytecode() {
        let (count, first) = timedBytecode
        guard count > 0 else { return }
        warn(
            "bundle-bytecode",
            "\(count) files of bytecode (\(first)) go by the time of their source, which is another on the nodes: each start compiles "
                + "them anew",
            "last of all: `python3 -m compileall -q -f --invalidation-mode unchecked-hash \(top)`; without -f it leaves them as they are"
        )
    }

    /// A link inside the bundle that leads to nothing in it.
    fileprivate mutating func warnOfDanglingLinks() {
        for link in links where !link.target.utf8.starts(with: "/".utf8) {
            // Followed as the system does it; a cycle leads to nothing too.
            guard files.isReachable("\(top)/\(link.path)") else {
                warn(
                    "bundle-link",
                    "the link \(top)/\(link.path) leads to nothing: \(shown(link.target))",
                    "build, then bundle, or remove it")
                continue
            }
        }
    }

    mutating func warnOfAssets(of manifest: BundleManifest) {
        let plain = manifest.assetEntries.map(\.path).filter { !$0.carriesNumber }
        guard let first = plain.first else { return }
        warn(
            "bundle-asset-name",
            "\(plain.count) assets have no digest in their name (\(first)): after an upgrade the name has another content",
            "let the proxy look into the current release before `assets` (docs/bundle.md), and let browsers keep only names with a digest"
        )
    }
}
