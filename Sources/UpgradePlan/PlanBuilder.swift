// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// Makes the plan from values that were found to be without error.
struct PlanBuilder {
    let values: DocumentValues

    /// - Returns: `nil` when a value is missing after all: a fault of the table or of the checks.
    func build() -> Plan? {
        guard let fleet = values.name("fleet", as: FleetName.self), let selection, let release,
            let writes, let reads, let readsWithoutStandby, let drain, let rollout, let deadlines,
            let approvals = values.list("approvals"), let hooks = values.sections("hooks"),
            let onFailure = values.text("on_failure").flatMap(Plan.OnFailure.init),
            let lease = values.span("lease"), let keepReleases = values.count("keep_releases"),
            let migrationsAtOnce = values.count("migrations_at_once"),
            let failedDatabases = values.count("failed_databases_at_most"),
            let databases
        else { return nil }
        return Plan(
            fleet: fleet, selection: selection, release: release, databases: databases,
            writes: writes, reads: reads, readsWithoutStandby: readsWithoutStandby,
            sessions: sessions, switchHold: switchHold, drain: drain, rollout: rollout,
            approvals: approvals.compactMap { Phase(rawValue: $0.text) },
            hooks: hooks.compactMap(hook) + paused, deadlines: deadlines, onFailure: onFailure,
            lease: lease, keepReleases: keepReleases, migrationsAtOnce: migrationsAtOnce,
            failedDatabasesAtMost: databases.count > 1 ? failedDatabases : 0)
    }

    private var selection: NodeSelection? {
        if let names = values.names("nodes.names", as: NodeName.self) { return .names(names) }
        return values.labels("nodes.labels").map(NodeSelection.labels)
    }

    private var release: Plan.Release? {
        guard let name = values.name("release.name", as: ReleaseName.self),
            let by = values.text("release.by")
        else { return nil }
        let expected: ReleaseName? = values.name("release.expected")
        if by == "actions" {
            return values.text("release.version").map {
                Plan.Release(name: name, expected: expected, version: $0)
            }
        }
        return values.text("release.bundle").map {
            Plan.Release(
                name: name, expected: expected, bundle: $0, assets: values.text("release.assets"))
        }
    }

    private var databases: [Plan.Database]? {
        let sections = values.databases
        let databases = sections.compactMap { DatabaseBuilder(section: $0).build() }
        return databases.count == sections.count ? databases : nil
    }

    private var writes: Plan.Writes? {
        guard let retryAfter = values.span("writes.retry_after"),
            let announce = values.span("writes.announce")
        else { return nil }
        let pace = values.text("writes.pace").flatMap { Int($0) }
        if values.text("writes.admission") == "refuse" {
            return values.text("writes.message").map {
                Plan.Writes(
                    admission: .refuse(message: $0), retryAfter: retryAfter, pace: pace,
                    announce: announce)
            }
        }
        guard let span = values.span("writes.hold_for"),
            let count = values.count("writes.hold_at_most")
        else { return nil }
        return Plan.Writes(
            admission: .hold(atMost: count, for: span), retryAfter: retryAfter, pace: pace,
            announce: announce)
    }

    private var reads: Plan.Reads? {
        if values.text("reads.from") == "standby" { return .standby }
        return held(by: "reads.while_migrating")
    }

    private var readsWithoutStandby: Plan.Reads? { held(by: "reads.when_standby_is_lost") }

    /// - Parameter rule: the key that says whether reads are held.
    private func held(by rule: String) -> Plan.Reads? {
        guard values.text(rule) == "hold" else { return .serve }
        guard let span = values.span("reads.hold_for"),
            let count = values.count("reads.hold_at_most")
        else { return nil }
        return .hold(for: span, atMost: count)
    }

    private var sessions: Plan.Sessions? {
        guard values.isPresent("reads.sessions") else { return nil }
        let mark =
            values.text("reads.sessions.cookie").map(Plan.SessionMark.cookie)
            ?? values.text("reads.sessions.header").map(Plan.SessionMark.header)
        guard let mark else { return nil }
        guard values.text("reads.sessions.while_fenced") == "hold",
            let span = values.span("reads.sessions.hold_for"),
            let count = values.count("reads.sessions.hold_at_most")
        else { return Plan.Sessions(mark, hold: nil) }
        return Plan.Sessions(mark, hold: (span, count))
    }

    private var switchHold: Plan.Sessions.Hold? {
        guard reads == .standby, release?.version != nil, let span = values.span("reads.hold_for"),
            let count = values.count("reads.hold_at_most")
        else { return nil }
        return Plan.Sessions.Hold(span, atMost: count)
    }

    private var drain: Plan.Drain? {
        guard let timeout = values.span("drain.timeout"),
            let stragglers = values.text("drain.stragglers").flatMap(Plan.Stragglers.init),
            let readers = values.text("drain.readers").flatMap(Plan.Treatment.init),
            let sessions = values.text("drain.sessions").flatMap(Plan.Treatment.init)
        else { return nil }
        return Plan.Drain(
            timeout: timeout, stragglers: stragglers, readers: readers, sessions: sessions)
    }

    private var rollout: Plan.Rollout? {
        guard let health,
            let warm: [ActionName] = values.names("rollout.warm"),
            let start = values.text("rollout.start").flatMap(Plan.Start.init(rawValue:)),
            let startChecks: [HealthCheckName] = values.names("rollout.start_checks"),
            let canary = values.count("rollout.canary"),
            let batches = values.sizes("rollout.batches"),
            let failureBudget = values.count("rollout.failure_budget"),
            let actions: [ActionName] = values.names("rollout.actions"),
            let caches: [CacheName] = values.names("rollout.caches"),
            let retire: [ActionName] = values.names("rollout.retire"),
            let bake = values.span("rollout.bake")
        else { return nil }
        return Plan.Rollout(
            health: health, warm: warm, start: start, startChecks: startChecks, canary: canary,
            batches: batches,
            maxUnavailable: values.size("rollout.max_unavailable"),
            failureBudget: failureBudget, actions: actions, caches: caches, retire: retire,
            bake: bake)
    }

    private var health: Plan.HealthRule? {
        guard let check = values.name("rollout.health.check", as: HealthCheckName.self),
            let deadline = values.span("rollout.health.deadline"),
            let consecutive = values.count("rollout.health.consecutive")
        else { return nil }
        return Plan.HealthRule(check: check, deadline: deadline, consecutive: consecutive)
    }

    private var deadlines: Plan.Deadlines? {
        guard let preflight = values.span("deadlines.preflight"),
            let stage = values.span("deadlines.stage"),
            let readOnly = values.span("deadlines.read-only"),
            let migrate = values.span("deadlines.migrate"),
            let verify = values.span("deadlines.verify"),
            let lift = values.span("deadlines.lift"),
            let finish = values.span("deadlines.finish")
        else { return nil }
        return Plan.Deadlines(
            preflight: preflight, stage: stage, readOnly: readOnly, migrate: migrate,
            verify: verify, lift: lift, finish: finish)
    }

    /// What `workers` and `application.mode` say, as hooks behind those of the document: a stored run names hooks by their number.
    private var paused: [Plan.Hook] {
        [
            // Before the gates close: nobody waits while jobs end.
            hook("workers", .readOnly, action: "pause", undo: "resume", until: .lift),
            // Behind closed gates, from before the fence until just before it is lowered, or until it is down: no write that a gate
            // lets through meets an application that refuses it.
            hook(
                "application.mode", .drain, action: "read_only", undo: "normal",
                until: values.text("application.mode.until") == "fence" ? .fence : .verify),
        ].compactMap { $0 }
    }

    private func hook(
        _ section: String, _ phase: Phase, action: String, undo: String, until: Plan.Hook.Until
    ) -> Plan.Hook? {
        guard values.isPresent(section),
            let action = values.name("\(section).\(action)", as: ActionName.self),
            let undo = values.name("\(section).\(undo)", as: ActionName.self)
        else { return nil }
        return Plan.Hook(
            .before, phase, action: action, target: target(values, "\(section)."), undo: undo,
            until: until)
    }

    private func target(_ values: DocumentValues, _ prefix: String = "") -> Plan.Hook.Target {
        if let node = values.name("\(prefix)node", as: NodeName.self) { return .node(node) }
        return values.text("\(prefix)where") == "one-node" ? .oneNode : .everyNode
    }

    private func hook(_ hook: DocumentValues) -> Plan.Hook? {
        let timing: HookTiming = hook.isPresent("before") ? .before : .after
        guard let phase = hook.text(timing.rawValue).flatMap(Phase.init(rawValue:)),
            let action = hook.name("run", as: ActionName.self)
        else { return nil }
        return Plan.Hook(
            timing, phase, action: action, target: target(hook),
            undo: hook.name("undo", as: ActionName.self),
            until: hook.text("until").flatMap(Plan.Hook.Until.init(rawValue:)))
    }
}
