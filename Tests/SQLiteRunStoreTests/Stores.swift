// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import FoundationEssentials
import Glibc
import RunStore
import SQLiteRunStore
import Synchronization
import Testing
import UpgradeModel

/// The implementations that the conformance suite drives.
enum Implementation: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case inMemory, onDisk

    var testDescription: String { rawValue }

    func open() async throws -> Stores {
        switch self {
        case .inMemory:
            let store = InMemoryRunStore()
            return Stores(
                journal: store, registry: store,
                blobs: InMemoryBlobStore(digest: { Digest.sha256(of: $0) }),
                lease: { InMemoryLeaderLease(store) })
        case .onDisk:
            let directory = try TemporaryDirectory()
            let store = try await SQLiteRunStore(directory: directory.path)
            return Stores(
                journal: store, registry: store,
                blobs: try await FileBlobStore(directory: directory.path),
                lease: { FileLeaderLease(directory: directory.path, store: store) })
        }
    }
}

/// Every port of one store.
struct Stores: Sendable {
    var journal: any Journal
    var registry: any Registry
    var blobs: any BlobStore
    /// The lease of one more process.
    var lease: @Sendable () -> any LeaderLease
}

/// A directory of the test's own, removed when the process ends: a value that is no longer used may be gone before a file is.
struct TemporaryDirectory: Sendable {
    private static let made = Mutex<[String]>([])

    let path: String

    init() throws {
        var template = Array("/tmp/sluice-store-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw StoreFailure.io("mkdtemp") }
        let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        self.path = path
        let isFirst = Self.made.withLock { made in
            made.append(path)
            return made.count == 1
        }
        if isFirst { atexit { TemporaryDirectory.removeAll() } }
    }

    private static func removeAll() {
        for path in made.withLock({ $0 }) { try? FileManager.default.removeItem(atPath: path) }
    }
}

extension JournalAppend {
    /// An append of texts, for tests.
    init(
        _ run: RunIdentifier, after version: Int64, epoch: Epoch = Epoch(rawValue: 1),
        at: Int64 = 1000,
        _ texts: [String], claim: Claim? = nil
    ) {
        self.init(
            run: run, expectedVersion: version, epoch: epoch, at: Instant(milliseconds: at),
            bodies: texts.map { Array($0.utf8) }, claim: claim)
    }
}

extension StoredEvent {
    var text: String { String(decoding: body, as: UTF8.self) }
}

let run1 = RunIdentifier(unchecked: "run-1")
let run2 = RunIdentifier(unchecked: "run-2")
let web = FleetName(unchecked: "web")
let shop = FleetName(unchecked: "shop")
