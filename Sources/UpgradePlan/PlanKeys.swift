// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// Every key that a plan may have. Parsing, suggestions and the test of `plans/reference.yaml` all read this one table.
enum PlanKeys {
    static let rules = DocumentRules(
        noun: "plan", reference: "plans/reference.yaml",
        beginning: "begin from `plans/minimal.yaml`",
        secretAdvice: "put it into an environment variable of the coordinator and write `env:NAME`;"
            + " if this plan has been shared, change the secret",
        keys: table)

    static let table = DocumentTable([
        DocumentKey("fleet", .name, .required),
        DocumentKey("nodes", .section(nodes), .required),
        DocumentKey("release", .section(release), .required),
        DocumentKey("database", .section(database), .optional),
        DocumentKey("databases", .named(database, maximum: Limits.databases), .optional),
        DocumentKey("migrations_at_once", .count(Limits.migrationsAtOnce), .fallback("1")),
        DocumentKey(
            "failed_databases_at_most", .count(Limits.failedDatabases), .fallback("0")),
        DocumentKey("writes", .section(writes), .optional),
        DocumentKey("reads", .section(reads), .optional),
        DocumentKey("drain", .section(drain), .optional),
        DocumentKey("rollout", .section(rollout), .required),
        DocumentKey("approvals", .phases, .fallback("[]")),
        DocumentKey("hooks", .sections(hook, maximum: 100), .fallback("[]")),
        DocumentKey("workers", .section(workers), .optional),
        DocumentKey("application", .section(application), .optional),
        DocumentKey("deadlines", .section(deadlines), .optional),
        DocumentKey(
            "on_failure", .word(Plan.OnFailure.allCases.map(\.rawValue)), .fallback("rollback")),
        DocumentKey("lease", .span(Limits.lease), .fallback("30s")),
        DocumentKey("keep_releases", .count(Limits.keepReleases), .fallback("3")),
    ])

    private static let nodes: [DocumentKey] = [
        DocumentKey("names", .names(atMost: 10_000), .optional),
        DocumentKey("labels", .labels(maximum: 100), .optional),
    ]

    private static let release: [DocumentKey] = [
        DocumentKey("name", .name, .required),
        DocumentKey("expected", .name, .optional),
        DocumentKey("by", .word(["bundle", "actions"]), .fallback("bundle")),
        DocumentKey("bundle", .path, .optional),
        DocumentKey("version", .text(maximum: 500), .optional),
        DocumentKey("assets", .path, .optional),
    ]

    private static let database: [DocumentKey] = [
        DocumentKey("url", .form(.environment), .required),
        DocumentKey("migrations", .path, .optional),
        DocumentKey("migrate_with", .section(tool), .optional),
        DocumentKey("lock_timeout", .span(Limits.lockTimeout), .fallback("200ms")),
        DocumentKey("statement_timeout", .span(Limits.deadline), .optional),
        DocumentKey("owner", .form(.role), .optional),
        DocumentKey(
            "search_path", .list(of: .form(.role), .init("list of schemas", maximum: 100)),
            .optional),
        DocumentKey(
            "trusted", .list(of: .form(.role), .init("list of roles", maximum: 100)),
            .fallback("[]")),
        DocumentKey(
            "readers", .list(of: .form(.role), .init("list of roles", maximum: 100)),
            .fallback("[]")),
        DocumentKey(
            "tls", .word(Plan.Database.TransportRule.allCases.map(\.rawValue)),
            .fallback("required")),
        DocumentKey(
            "fence", .word(FenceLevel.allCases.map(\.rawValue)), .fallback("complete")),
        DocumentKey(
            "accepts",
            .list(
                of: .word(FenceGap.allCases.map(\.rawValue)),
                .init("list of what is not held", maximum: FenceGap.allCases.count)),
            .fallback("[]")),
        DocumentKey("standby", .section(standby), .optional),
        DocumentKey("leave_out_with", .section(leaveOut), .optional),
    ]

    private static let leaveOut: [DocumentKey] = [
        DocumentKey("close", .name, .required),
        DocumentKey("open", .name, .required),
    ]

    private static let standby: [DocumentKey] = [
        DocumentKey("url", .form(.environment), .required),
        DocumentKey("lag", .span(Limits.standbyLag), .fallback("5s")),
        DocumentKey("wal", .form(.logSize), .fallback("10GB")),
        DocumentKey("manager", .section(manager), .optional),
    ]

    private static let manager: [DocumentKey] = [
        DocumentKey("patroni", .form(.environment), .required)
    ]

    private static let tool: [DocumentKey] = [
        DocumentKey("run", .name, .required),
        DocumentKey("node", .name, .optional),
        DocumentKey("ledger", .word(Plan.Tool.Ledger.words.map(\.0)), .optional),
        DocumentKey("ledger_query", .text(maximum: 2000), .optional),
        DocumentKey("revert_with", .name, .optional),
        DocumentKey("expand_with", .name, .optional),
        DocumentKey("contract_with", .name, .optional),
        DocumentKey("preview_with", .name, .optional),
        DocumentKey(
            "on_partly", .word(Plan.Tool.OnPartly.allCases.map(\.rawValue)), .fallback("person")),
        DocumentKey("role", .form(.role), .optional),
        DocumentKey("timeout", .span(Limits.deadline), .optional),
    ]

    private static let writes: [DocumentKey] = [
        DocumentKey("admission", .word(["hold", "refuse"]), .fallback("hold")),
        DocumentKey("hold_for", .span(Limits.hold), .fallback("15s")),
        DocumentKey("hold_at_most", .count(Limits.held), .fallback("1000")),
        DocumentKey("pace", .form(.pace), .fallback("measured")),
        DocumentKey("message", .text(maximum: 500), .fallback(defaultMessage)),
        DocumentKey("retry_after", .span(Limits.retryAfter), .fallback("5s")),
        DocumentKey("announce", .span(Limits.announce), .fallback("0s")),
    ]

    private static let defaultMessage = "An upgrade is under way. Please try again in a moment."

    private static let reads: [DocumentKey] = [
        DocumentKey("from", .word(["primary", "standby"]), .fallback("primary")),
        DocumentKey("while_migrating", .word(["serve", "hold"]), .fallback("serve")),
        DocumentKey("hold_for", .span(Limits.hold), .fallback("10s")),
        DocumentKey("hold_at_most", .count(Limits.held), .fallback("1000")),
        DocumentKey("when_standby_is_lost", .word(["hold", "serve"]), .fallback("hold")),
        DocumentKey("sessions", .section(sessions), .optional),
    ]

    private static let sessions: [DocumentKey] = [
        DocumentKey("cookie", .form(.token), .optional),
        DocumentKey("header", .form(.token), .optional),
        DocumentKey("while_fenced", .word(["hold", "serve"]), .fallback("hold")),
        DocumentKey("hold_for", .span(Limits.hold), .fallback("15s")),
        DocumentKey("hold_at_most", .count(Limits.held), .fallback("1000")),
    ]

    private static let drain: [DocumentKey] = [
        DocumentKey("timeout", .span(Limits.deadline), .fallback("10s")),
        DocumentKey(
            "stragglers", .word(Plan.Stragglers.allCases.map(\.rawValue)), .fallback("terminate")),
        DocumentKey(
            "readers", .word(Plan.Treatment.allCases.map(\.rawValue)), .fallback("leave")),
        DocumentKey(
            "sessions", .word(Plan.Treatment.allCases.map(\.rawValue)), .fallback("leave")),
    ]

    private static let rollout: [DocumentKey] = [
        DocumentKey("warm", .names(atMost: 100), .fallback("[]")),
        DocumentKey(
            "start", .word(Plan.Start.allCases.map(\.rawValue)), .fallback("warm")),
        DocumentKey("start_checks", .names(atMost: 16), .fallback("[]")),
        DocumentKey("canary", .count(Limits.nodes), .fallback("1")),
        DocumentKey("batches", .sizes, .fallback("1")),
        DocumentKey("max_unavailable", .form(.size), .optional),
        DocumentKey("failure_budget", .count(Limits.failureBudget), .fallback("0")),
        DocumentKey("health", .section(health), .required),
        DocumentKey("actions", .names(atMost: 100), .fallback("[]")),
        DocumentKey("caches", .names(atMost: 100), .fallback("[]")),
        DocumentKey("retire", .names(atMost: 100), .fallback("[]")),
        DocumentKey("bake", .span(Limits.bake), .fallback("0s")),
    ]

    private static let health: [DocumentKey] = [
        DocumentKey("check", .name, .required),
        DocumentKey("deadline", .span(Limits.deadline), .fallback("5m")),
        DocumentKey("consecutive", .count(Limits.consecutive), .fallback("2")),
    ]

    private static let hook: [DocumentKey] = [
        DocumentKey("before", .word(Phase.allCases.map(\.rawValue)), .optional),
        DocumentKey("after", .word(Phase.allCases.map(\.rawValue)), .optional),
        DocumentKey("run", .name, .required),
        DocumentKey("where", .word(["every-node", "one-node"]), .fallback("every-node")),
        DocumentKey("node", .name, .optional),
        DocumentKey("undo", .name, .optional),
        DocumentKey("until", .word(Plan.Hook.Until.allCases.map(\.rawValue)), .optional),
    ]

    private static let workers: [DocumentKey] = [
        DocumentKey("pause", .name, .required),
        DocumentKey("resume", .name, .required),
        DocumentKey("where", .word(["every-node", "one-node"]), .fallback("every-node")),
        DocumentKey("node", .name, .optional),
    ]

    private static let application: [DocumentKey] = [
        DocumentKey("mode", .section(mode), .required)
    ]

    private static let mode: [DocumentKey] = [
        DocumentKey("read_only", .name, .required),
        DocumentKey("normal", .name, .required),
        DocumentKey("until", .word(["verify", "fence"]), .fallback("verify")),
        DocumentKey("where", .word(["every-node", "one-node"]), .fallback("every-node")),
        DocumentKey("node", .name, .optional),
    ]

    private static let deadlines: [DocumentKey] = [
        DocumentKey("preflight", .span(Limits.deadline), .fallback("1m")),
        DocumentKey("stage", .span(Limits.deadline), .fallback("10m")),
        DocumentKey("read-only", .span(Limits.deadline), .fallback("30s")),
        DocumentKey("migrate", .span(Limits.deadline), .fallback("10m")),
        DocumentKey("verify", .span(Limits.deadline), .fallback("1m")),
        DocumentKey("lift", .span(Limits.deadline), .fallback("1m")),
        DocumentKey("finish", .span(Limits.deadline), .fallback("10m")),
    ]
}
