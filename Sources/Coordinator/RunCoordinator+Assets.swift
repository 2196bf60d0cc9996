// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Releases
import RunStore
import UpgradeEngine
import UpgradeModel

extension RunCoordinator {
    /// How many releases of the nodes are compared at most; a fleet has a handful.
    private static let comparedReleases = 64

    /// Refuses a release whose assets cannot lie beside those that the nodes have, with all names, before anything is fetched.
    ///
    /// What the nodes have is known by what they say; a release that never came through this coordinator is compared by each node, in
    /// stage.
    func requireAssets(
        of manifest: BundleManifest, on nodes: [NodeName]
    ) async throws(APIError) {
        guard manifest.assets != nil else { return }
        var releases: Set<ReleaseReference> = []
        for node in nodes {
            releases.formUnion(published.statuses[node]?.status.staged ?? [])
        }
        releases.remove(manifest.reference)
        let compared = releases.sorted { $0.identifier < $1.identifier }
            .prefix(Self.comparedReleases)
        var others: [(identifier: String, manifest: BundleManifest)] = []
        for release in compared {
            guard let other = await heldManifest(of: release) else { continue }
            others.append((release.identifier, other))
        }
        let found = others
        let conflict = await WorkLane.requests.run { manifest.assetConflict(with: found) }
        if let conflict { throw .refused(conflict, BundleManifest.assetConflictAdvice) }
    }

    private func heldManifest(of release: ReleaseReference) async -> BundleManifest? {
        guard
            let bytes = try? await ports.blobs.readAll(
                release.manifest, limit: BundleManifest.SizeLimits().encodedSize)
        else { return nil }
        return await WorkLane.requests.run { try? BundleManifest(parsing: bytes) }
    }
}
