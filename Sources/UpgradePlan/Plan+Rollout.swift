// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension Plan {
    /// How the release reaches the nodes: canary, then batches.
    ///
    /// On each node of a batch: activate, run `actions`, wait for health, flush `caches`.
    public struct Rollout: Hashable, Sendable {
        /// Actions that start the new release beside the old one, so that it is warm when its node flips.
        public let warm: [ActionName]
        /// When `warm` runs.
        public let start: Start
        /// What the new release has to answer at its own socket besides the health check, where it starts after the migration.
        public let startChecks: [HealthCheckName]
        /// How many nodes go first, alone.
        public let canary: Int
        /// The sizes of the batches after the canary; the last one repeats until no node is left.
        public let batches: [BatchSize]
        /// No batch, the canary included, is larger than this; `nil` leaves it to their sizes.
        public let maxUnavailable: BatchSize?
        /// How many nodes may fail and be quarantined before the run has failed.
        public let failureBudget: Int
        public let health: HealthRule
        /// Actions that run on a node after its activation, before its health is asked.
        public let actions: [ActionName]
        /// The caches that are flushed on a node once it serves the new release.
        public let caches: [CacheName]
        /// Actions that stop what no longer serves: the old release after the lift, or the new one on the
        /// way back.
        public let retire: [ActionName]
        /// How long a batch is watched before the next one begins. Lengthens the write window.
        public let bake: Span

        public init(
            health: HealthRule,
            warm: [ActionName] = [],
            start: Start = .warm,
            startChecks: [HealthCheckName] = [],
            canary: Int = 1,
            batches: [BatchSize] = [.nodes(1)],
            maxUnavailable: BatchSize? = nil,
            failureBudget: Int = 0,
            actions: [ActionName] = [],
            caches: [CacheName] = [],
            retire: [ActionName] = [],
            bake: Span = .zero
        ) {
            precondition(Limits.nodes.contains(canary), "canary out of range")
            precondition(!batches.isEmpty, "a rollout needs a batch size")
            precondition(batches.allSatisfy(\.isValid), "batch size out of range")
            precondition(maxUnavailable?.isValid ?? true, "maxUnavailable out of range")
            precondition(Limits.failureBudget.contains(failureBudget), "failureBudget out of range")
            precondition(Limits.bake.contains(bake), "bake out of range")
            self.warm = warm
            self.start = start
            self.startChecks = startChecks
            self.canary = canary
            self.batches = batches
            self.maxUnavailable = maxUnavailable
            self.failureBudget = failureBudget
            self.health = health
            self.actions = actions
            self.caches = caches
            self.retire = retire
            self.bake = bake
        }
    }

    /// When the new release starts.
    public enum Start: String, Hashable, Sendable, CaseIterable {
        /// In `stage`, beside the old one and on the old schema.
        case warm
        /// Behind the closed gates, on the new schema, on all nodes at once: for a release that cannot start on the old one.
        case afterMigration = "after-migration"
    }

    /// When a node counts as healthy on the new release.
    public struct HealthRule: Hashable, Sendable {
        /// A check of the node's own configuration; it should name a page that reads the database.
        public let check: HealthCheckName
        /// How long after its activation a node may take to become healthy.
        public let deadline: Span
        /// How many answers in a row have to be good.
        public let consecutive: Int

        public init(check: HealthCheckName, deadline: Span = .minutes(5), consecutive: Int = 2) {
            precondition(Limits.deadline.contains(deadline), "health deadline out of range")
            precondition(Limits.consecutive.contains(consecutive), "consecutive out of range")
            self.check = check
            self.deadline = deadline
            self.consecutive = consecutive
        }
    }
}
