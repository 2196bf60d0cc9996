// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A release on the operator's disk, before any node has it: a directory and the manifest of what is in it.
public struct Bundle: Sendable {
    public let manifest: BundleManifest
    /// The directory as it was given, without a slash at the end.
    public let directory: String
    /// What does not stop the bundle but is not as one may think, such as an empty directory.
    public let warnings: [Diagnostic]

    /// Why a directory is no bundle: everything that was found, 100 errors and 100 warnings at most.
    public struct Refusal: Error, Hashable, Sendable, CustomStringConvertible {
        public let findings: [Diagnostic]

        public init(findings: [Diagnostic]) { self.findings = findings }

        public var description: String { findings.map(\.description).joined(separator: "\n") }
    }

    /// Reads every file of a directory.
    ///
    /// The result depends on names, contents and the owner's execute bits only, not on times, owners or the order on disk. All
    /// that is there belongs to the bundle, hidden files too; what cannot belong to one (links, devices, sockets, pipes) is a
    /// finding. Blocks for as long as the reading takes: call it off the shared pool.
    ///
    /// - Parameter assets: the directory, relative to the bundle, of files whose names change with their content.
    /// - Throws: ``Refusal``.
    public static func read(
        directory: String, name: ReleaseName, assets: String? = nil,
        limits: BundleManifest.Limits = BundleManifest.Limits()
    ) throws(Refusal) -> Bundle {
        var top = directory
        while top.count > 1 && top.hasSuffix("/") { top.removeLast() }
        var reader = BundleReader(top: top, limits: limits)
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
            throw Refusal(findings: reader.findings + reader.warnings)
        }
        do throws(ReleaseFailure) {
            let manifest = try BundleManifest(
                name: name, entries: reader.entries, assets: assetsPath, limits: limits)
            return Bundle(manifest: manifest, directory: top, warnings: reader.warnings)
        } catch {
            let finding = Diagnostic(.error, code: "bundle", "\(top): \(error.message)")
            throw Refusal(findings: [finding] + reader.warnings)
        }
    }

    /// Where the content of an entry is, for uploading it.
    public func file(of entry: BundleManifest.Entry) -> String { "\(directory)/\(entry.path)" }
}

private struct BundleReader {
    let top: String
    let limits: BundleManifest.Limits
    private let files = FileSystem()
    private(set) var entries: [BundleManifest.Entry] = []
    private(set) var findings: [Diagnostic] = []
    private(set) var warnings: [Diagnostic] = []

    init(top: String, limits: BundleManifest.Limits) {
        self.top = top
        self.limits = limits
    }

    mutating func readAll() {
        do throws(ReleaseFailure) {
            guard let status = try files.status(top) else {
                return find(
                    "bundle-missing", "\(top) is not there",
                    "give the directory of the built release")
            }
            guard status.kind == .directory else {
                return find(
                    "bundle-missing", "\(top) is not a directory",
                    "give the directory, not a file or a link")
            }
            try readDirectory(nil)
        } catch { find("bundle-unreadable", error.message, nil) }
    }

    mutating func find(_ code: String, _ message: String, _ advice: String?) {
        if findings.count < 100 {
            findings.append(Diagnostic(.error, code: code, message, advice: advice))
        }
    }

    private mutating func readDirectory(_ directory: BundlePath?) throws(ReleaseFailure) {
        let location = directory.map { "\(top)/\($0)" } ?? top
        let names = try files.names(in: location)
        if names.isEmpty, directory != nil, warnings.count < 100 {
            warnings.append(
                Diagnostic(
                    .warning, code: "bundle-empty-directory",
                    "\(location) is empty and will not exist on the nodes",
                    advice: "put a file into it when the application needs it"))
        }
        for name in names {
            let text = directory.map { "\($0)/\(name)" } ?? name
            do throws(BundlePath.Reason) { readOne(try BundlePath(text)) } catch {
                find("bundle-path", "\(top)/\(shown(text)): the path \(error.text)", "rename it")
            }
            // One too many is enough: the manifest will say so.
            guard entries.count <= limits.entries else { return }
        }
    }

    private mutating func readOne(_ path: BundlePath) {
        let location = "\(top)/\(path)"
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
            case .link:
                find(
                    "bundle-link", "\(location) is a symbolic link, which a bundle cannot have",
                    "put a copy of what it points to there (cp -L)")
            case .other:
                find(
                    "bundle-special",
                    "\(location) is a device, a socket or a pipe, which a bundle cannot have",
                    "remove it")
            }
        } catch { find("bundle-unreadable", error.message, "make it readable, or remove it") }
    }
}
