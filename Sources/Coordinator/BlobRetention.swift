// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Logging
import Releases
import RunStore
import UpgradeEngine
import UpgradeModel

/// Which blobs are kept: all that the latest runs name.
///
/// Looked at once, when a coordinator takes the lead and before it hears anybody, so that no run is being started meanwhile. The
/// store itself spares what is younger than an hour.
enum BlobRetention {
    /// Whose blobs are kept: more runs than a node keeps releases.
    static let runs = 50

    static func apply(to blobs: any BlobStore, by journal: any Journal, log: Logger) async {
        do {
            var kept: Set<Digest> = []
            for record in try await journal.runs(limit: runs) {
                guard let first = try await journal.entries(of: record.run, limit: 1).first,
                    case .created(let created) = first.event
                else { continue }
                kept.insert(created.release.manifest)
                kept.formUnion(created.migrations.map(\.digest))
                kept.formUnion(try await files(of: created.release.manifest, in: blobs))
            }
            try await blobs.prune(keeping: kept)
        } catch {
            // Space is all that is lost; the next start looks again.
            log.warning("blobs were not pruned", metadata: ["why": "\(error)"])
        }
    }

    private static func files(of manifest: Digest, in blobs: any BlobStore) async throws -> [Digest]
    {
        guard try await blobs.size(of: manifest) != nil else { return [] }
        let bytes = try await blobs.readAll(manifest, limit: BundleManifest.Limits().encodedSize)
        return try BundleManifest(parsing: bytes).entries.map(\.digest)
    }
}
