// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Every key that a plan may have. Parsing, suggestions and the test of `plans/reference.yaml` all read
/// this one table.
enum PlanKeys {
    static let all: [PlanKey] = [
        PlanKey("fleet", .name, .required),
        PlanKey("nodes", .section(nodes), .required),
        PlanKey("release", .section(release), .required),
        PlanKey("database", .section(database), .optional),
        PlanKey("writes", .section(writes), .optional),
        PlanKey("reads", .section(reads), .optional),
        PlanKey("drain", .section(drain), .optional),
        PlanKey("rollout", .section(rollout), .required),
        PlanKey("approvals", .words(Phase.allCases.map(\.rawValue)), .standard("[]")),
        PlanKey("hooks", .sections(hook, maximum: 100), .standard("[]")),
        PlanKey("deadlines", .section(deadlines), .optional),
        PlanKey(
            "on_failure", .word(Plan.OnFailure.allCases.map(\.rawValue)), .standard("rollback")),
        PlanKey("lease", .span(Limits.lease), .standard("30s")),
        PlanKey("keep_releases", .count(Limits.keepReleases), .standard("3")),
    ]

    private static let nodes: [PlanKey] = [
        PlanKey("names", .names(maximum: 10_000), .optional),
        PlanKey("labels", .labels(maximum: 100), .optional),
    ]

    private static let release: [PlanKey] = [
        PlanKey("name", .name, .required),
        PlanKey("expected", .name, .optional),
        PlanKey("bundle", .path, .required),
        PlanKey("assets", .path, .optional),
    ]

    private static let database: [PlanKey] = [
        PlanKey("url", .environment, .required),
        PlanKey("migrations", .path, .required),
        PlanKey("lock_timeout", .span(Limits.lockTimeout), .standard("2s")),
        PlanKey("statement_timeout", .span(Limits.deadline), .optional),
    ]

    private static let writes: [PlanKey] = [
        PlanKey("admission", .word(["hold", "refuse"]), .standard("hold")),
        PlanKey("hold_for", .span(Limits.hold), .standard("15s")),
        PlanKey("hold_at_most", .count(Limits.held), .standard("1000")),
        PlanKey("message", .text(maximum: 500), .standard(defaultMessage)),
        PlanKey("retry_after", .span(Limits.retryAfter), .standard("5s")),
    ]

    private static let defaultMessage = "An upgrade is under way. Please try again in a moment."

    private static let reads: [PlanKey] = [
        PlanKey("while_migrating", .word(["serve", "hold"]), .standard("serve")),
        PlanKey("hold_for", .span(Limits.hold), .standard("10s")),
        PlanKey("hold_at_most", .count(Limits.held), .standard("1000")),
    ]

    private static let drain: [PlanKey] = [
        PlanKey("timeout", .span(Limits.deadline), .standard("10s")),
        PlanKey(
            "stragglers", .word(Plan.Stragglers.allCases.map(\.rawValue)), .standard("terminate")),
    ]

    private static let rollout: [PlanKey] = [
        PlanKey("warm", .names(maximum: 100), .standard("[]")),
        PlanKey("canary", .count(Limits.nodes), .standard("1")),
        PlanKey("batches", .sizes(maximum: 100), .standard("1")),
        PlanKey("max_unavailable", .size, .optional),
        PlanKey("failure_budget", .count(Limits.failureBudget), .standard("0")),
        PlanKey("health", .section(health), .required),
        PlanKey("actions", .names(maximum: 100), .standard("[]")),
        PlanKey("caches", .names(maximum: 100), .standard("[]")),
        PlanKey("retire", .names(maximum: 100), .standard("[]")),
        PlanKey("bake", .span(Limits.bake), .standard("0s")),
    ]

    private static let health: [PlanKey] = [
        PlanKey("check", .name, .required),
        PlanKey("deadline", .span(Limits.deadline), .standard("5m")),
        PlanKey("consecutive", .count(Limits.consecutive), .standard("2")),
    ]

    private static let hook: [PlanKey] = [
        PlanKey("before", .word(Phase.allCases.map(\.rawValue)), .optional),
        PlanKey("after", .word(Phase.allCases.map(\.rawValue)), .optional),
        PlanKey("run", .name, .required),
        PlanKey("where", .word(["every-node", "one-node"]), .standard("every-node")),
        PlanKey("node", .name, .optional),
    ]

    private static let deadlines: [PlanKey] = [
        PlanKey("preflight", .span(Limits.deadline), .standard("1m")),
        PlanKey("stage", .span(Limits.deadline), .standard("10m")),
        PlanKey("read-only", .span(Limits.deadline), .standard("30s")),
        PlanKey("migrate", .span(Limits.deadline), .standard("10m")),
        PlanKey("verify", .span(Limits.deadline), .standard("1m")),
        PlanKey("lift", .span(Limits.deadline), .standard("1m")),
        PlanKey("finish", .span(Limits.deadline), .standard("10m")),
    ]

    /// The path of every key, `rollout.health.check`, with the key; a list of sections adds nothing.
    static let paths: [(path: String, key: PlanKey)] = flattened(all, under: "")

    private static func flattened(
        _ keys: [PlanKey], under prefix: String
    ) -> [(path: String, key: PlanKey)] {
        keys.flatMap { key in
            [(prefix + key.name, key)] + flattened(key.children, under: prefix + key.name + ".")
        }
    }
}
