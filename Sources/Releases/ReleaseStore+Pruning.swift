// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What a pruning took away.
public struct Pruning: Hashable, Sendable {
    public var releases: [ReleaseReference]
    /// How many old activations.
    public var activations: Int
    /// How many files of the assets pool.
    public var assets: Int

    public init(releases: [ReleaseReference] = [], activations: Int = 0, assets: Int = 0) {
        self.releases = releases
        self.activations = activations
        self.assets = assets
    }
}

extension ReleaseStore {
    /// Removes releases that are not needed any more, and with each the assets that no other release has.
    ///
    /// Kept are the active release, the protected ones, and of the others those that were activated last. Before the first
    /// activation no release is removed. One on the standby stays when it is active or protected and takes no place of its own; the same
    /// release on its usual database stays with it. A kill in the middle leaves rubbish in `staging` at worst; the next call removes it.
    ///
    /// - Parameters:
    ///   - count: how many releases stay in all, the active one included; at least 1.
    ///   - protected: releases that stay whatever the count, such as one that is staged for the next run.
    public func prune(
        keeping count: Int, protecting protected: Set<ReleaseReference> = []
    ) throws(ReleaseFailure) -> Pruning {
        try checkIdle()
        var pruning = Pruning()
        if let active = try current() {
            let all = try activations()
            var places: Set<ReleaseReference> = [active.release.on(nil)]
            let staged = try staged()
            // A release that was prepared and then taken away again keeps no place.
            for activation in all.reversed()
            where places.count < max(1, count) && staged.contains(activation.release) {
                places.insert(activation.release.on(nil))
            }
            let kept = places.union(protected).union([active.release])
            for release in staged where !kept.contains(release) {
                try takeAway(release)
                pruning.releases.append(release)
            }
            pruning.activations = try removeActivations(all, before: active, of: kept)
        }
        pruning.assets = try removeOrphanedAssets()
        try clearStaging()
        return pruning
    }

    /// Removes one staged release, its activations, and the assets that no other release has: the way back from `stage`.
    ///
    /// The generation of an activation that was only prepared may be used again: nobody has been served under it.
    ///
    /// - Throws: ``ReleaseFailure/Code/active`` for the active release. A release that is not there is success.
    public func remove(_ release: ReleaseReference) throws(ReleaseFailure) {
        try checkIdle()
        guard try current()?.release != release else {
            throw ReleaseFailure(
                .active,
                "\(release.identifier) is active on this node; activate another release first")
        }
        // Before the release: whoever is killed here is asked again, because the release is still there.
        for activation in try activations() where activation.release == release {
            try discard(activation)
        }
        if try isStaged(release) { try takeAway(release) }
        _ = try removeOrphanedAssets()
        try removeLeftovers()
    }

    private func checkIdle() throws(ReleaseFailure) {
        guard !isStaging else {
            throw ReleaseFailure(
                .busy, "a release is being staged on this node; remove others after that")
        }
    }

    private func takeAway(_ release: ReleaseReference) throws(ReleaseFailure) {
        try discard(
            layout.release(release.identifier), as: release.identifier, from: layout.releases)
    }

    private func discard(_ activation: Activation) throws(ReleaseFailure) {
        try discard(activation.directory, as: activation.name, from: layout.activations)
    }

    /// Of each kept release the last activation stays. Generations from the active one on all stay, so that the highest one
    /// is never forgotten and never used again.
    private func removeActivations(
        _ all: [Activation], before active: Activation, of kept: Set<ReleaseReference>
    ) throws(ReleaseFailure) -> Int {
        var seen: Set<ReleaseReference> = []
        var count = 0
        for activation in all.reversed() {
            let isLast = seen.insert(activation.release).inserted
            guard activation.generation < active.generation,
                !isLast || !kept.contains(activation.release)
            else { continue }
            try discard(activation)
            count += 1
        }
        return count
    }

    private func clearStaging() throws(ReleaseFailure) {
        verifiedBlobs = []
        for name in try files.names(in: layout.staging) {
            try files.removeTree("\(layout.staging)/\(name)")
        }
    }
}
