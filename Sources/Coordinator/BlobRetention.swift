// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Logging
import Releases
import RunStore
import UpgradeEngine
import UpgradeModel

/// Which blobs are kept: all that the latest runs of each fleet name.
///
/// The store itself spares what has come, or was asked for by an operator, within the last hour, so a run may be started meanwhile.
enum BlobRetention {
    /// Whose blobs are kept, of each fleet: more runs than a node keeps releases.
    static let runs = 50

    /// - Parameter more: what runs in progress have been brought since they were started.
    @concurrent static func apply(
        to blobs: any BlobStore, by journal: any Journal, keeping more: Set<Digest> = [],
        log: Logger
    ) async {
        do {
            var manifests: Set<Digest> = []
            var kept = more
            var counts: [FleetName: Int] = [:]
            for record in try await journal.runs(limit: .max) {
                counts[record.fleet, default: 0] += 1
                guard counts[record.fleet, default: 0] <= runs,
                    let first = try await journal.entries(of: record.run, limit: 1).first,
                    case .created(let created) = first.event
                else { continue }
                kept.formUnion(created.migrations.map(\.digest))
                manifests.insert(created.release.manifest)
            }
            for manifest in manifests { kept.formUnion(try await files(of: manifest, in: blobs)) }
            try await blobs.prune(keeping: kept.union(manifests))
        } catch {
            // Space is all that is lost; it is looked at again in an hour.
            log.warning("blobs were not pruned", metadata: ["why": "\(error)"])
        }
    }

    private static func files(of manifest: Digest, in blobs: any BlobStore) async throws -> [Digest]
    {
        guard try await blobs.size(of: manifest) != nil else { return [] }
        let bytes = try await blobs.readAll(
            manifest, limit: BundleManifest.SizeLimits().encodedSize)
        return try await WorkLane.history.run { () throws(ReleaseFailure) in
            try BundleManifest(parsing: bytes).entries.map(\.digest)
        }
    }
}
