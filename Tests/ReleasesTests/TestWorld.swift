// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Glibc
import Synchronization
import Testing
import TestSupport
import UpgradeModel

@testable import Releases

extension TemporaryDirectory {
    /// Writes files, `x ` before a path makes it executable, and returns the directory.
    func write(_ files: [String: String], under directory: String) throws -> String {
        let top = "\(path)/\(directory)"
        try FileSystem().makeDirectory(top, mode: 0o755)
        for (name, content) in files.sorted(by: { $0.key < $1.key }) {
            let isExecutable = name.hasPrefix("x ")
            let relative = try BundlePath(isExecutable ? String(name.dropFirst(2)) : name)
            for parent in relative.parents {
                try FileSystem().makeDirectory("\(top)/\(parent)", mode: 0o755)
            }
            try FileSystem().write(
                Array(content.utf8), to: "\(top)/\(relative)", mode: isExecutable ? 0o755 : 0o644)
        }
        return top
    }
}

/// A release in memory: its manifest and its blobs.
struct TestRelease {
    var manifest: BundleManifest
    var blobs: [Digest: [UInt8]]
    var reference: ReleaseReference { manifest.reference }

    init(_ name: String, _ files: [String: String], assets: String? = nil) throws {
        var blobs: [Digest: [UInt8]] = [:]
        var entries: [BundleManifest.Entry] = []
        for (path, content) in files {
            let bytes = Array(content.utf8)
            let digest = Digest.sha256(of: bytes)
            blobs[digest] = bytes
            entries.append(
                .init(
                    path: try BundlePath(path.hasPrefix("x ") ? String(path.dropFirst(2)) : path),
                    digest: digest,
                    size: Int64(bytes.count), isExecutable: path.hasPrefix("x ")))
        }
        self.blobs = blobs
        manifest = try BundleManifest(
            name: try #require(ReleaseName(name)), entries: entries,
            assets: try assets.map { try BundlePath($0) })
    }
}

struct Interrupted: Error {}

/// Serves blobs from memory, remembers what was asked for, and can be told to fail.
final class MemorySource: BlobSource {
    struct Call: Hashable {
        var digest: Digest
        var offset: Int64
    }

    private let state: Mutex<(blobs: [Digest: [UInt8]], calls: [Call], running: Int, most: Int)>
    /// Bytes after which each fetch breaks off.
    private let breakAfter: Int?
    /// Runs within each fetch, before anything is written.
    private let onFetch: @Sendable () async throws -> Void

    init(
        _ blobs: [Digest: [UInt8]], breakAfter: Int? = nil,
        onFetch: @escaping @Sendable () async throws -> Void = {}
    ) {
        state = Mutex((blobs, [], 0, 0))
        self.breakAfter = breakAfter
        self.onFetch = onFetch
    }

    var calls: [Call] { state.withLock { $0.calls } }
    var running: Int { state.withLock { $0.running } }
    var mostAtOnce: Int { state.withLock { $0.most } }

    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws {
        let bytes = state.withLock { state in
            state.calls.append(Call(digest: digest, offset: offset))
            state.running += 1
            state.most = max(state.most, state.running)
            return state.blobs[digest]
        }
        defer { state.withLock { $0.running -= 1 } }
        try await onFetch()
        guard let bytes else { throw Interrupted() }
        let rest = bytes.dropFirst(Int(offset)).prefix(breakAfter ?? .max)
        guard rest.withUnsafeBytes({ sink.write($0) }) else { throw Interrupted() }
        if let breakAfter, bytes.count - Int(offset) > breakAfter { throw Interrupted() }
    }
}

/// Lets a number of changes through and no more, as if the process had been killed there.
final class Killer: Sendable {
    private let state = Mutex((left: Int.max, steps: [String]()))

    func arm(after changes: Int) { state.withLock { $0 = (changes, []) } }
    var steps: [String] { state.withLock { $0.steps } }

    var files: FileSystem {
        FileSystem(beforeChange: { [self] step throws(ReleaseFailure) in
            let isDead = state.withLock { state in
                if state.left == 0 { return true }
                state.left -= 1
                state.steps.append(step)
                return false
            }
            if isDead { throw ReleaseFailure(.fileSystem, "killed before \(step)") }
        })
    }
}

extension ReleaseStore {
    static func at(_ root: String, files: FileSystem = FileSystem()) throws -> ReleaseStore {
        try ReleaseStore(
            .init(root: root, socketTemplate: "/run/test/{release}.sock", reservedBytes: 0),
            files: files)
    }

    func stage(
        _ release: TestRelease, from source: (any BlobSource)? = nil,
        progress: @escaping @Sendable (StagingProgress) -> Void = { _ in }
    ) async throws {
        try await stage(
            manifest: release.manifest.encoded, as: release.reference,
            from: source ?? MemorySource(release.blobs), progress: progress)
    }
}

/// Every path beneath a directory with kind, mode and content, one line each: what must be equal when nothing was changed.
func listing(_ directory: String, leavingOut: Set<String> = []) throws -> [String] {
    var lines: [String] = []
    func visit(_ path: String, _ shown: String) throws {
        for name in try FileSystem().names(in: path) where !leavingOut.contains("\(shown)\(name)") {
            let child = "\(path)/\(name)"
            let status = try #require(try FileSystem().status(child))
            let mode = String(status.mode, radix: 8)
            switch status.kind {
            case .directory:
                lines.append("\(shown)\(name)/ \(mode)")
                try visit(child, "\(shown)\(name)/")
            case .link:
                lines.append("\(shown)\(name) -> \(try FileSystem().target(ofLink: child) ?? "")")
            case .file:
                lines.append(
                    "\(shown)\(name) \(mode) \(try FileSystem().digest(child).digest.short)")
            case .other: lines.append("\(shown)\(name) other")
            }
        }
    }
    try visit(directory, "")
    return lines
}

func content(_ path: String) throws -> String {
    String(decoding: try FileSystem().read(path, limit: 1 << 20), as: UTF8.self)
}

/// Runs it and returns its failure; records an issue when there is none.
func failure(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Void
) async -> ReleaseFailure? {
    do {
        try await body()
        Issue.record("no failure")
    } catch let error as ReleaseFailure {
        return error
    } catch { Issue.record(error) }
    return nil
}
