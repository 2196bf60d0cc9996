// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import FoundationEssentials
import Glibc
import RunStore
import SQLiteRunStore
import StoreTestSupport
import Synchronization
import TestSupport
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
