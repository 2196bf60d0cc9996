// SPDX-License-Identifier: Apache-2.0

import CurlClient
import Documents
import Glibc
import UpgradeModel
import WriteGate

/// Makes a configuration from what its text says, and adds what its keys say together and what this machine lacks.
///
/// A part that is wrong is `nil`; then there is an error in `findings`.
struct ConfigurationBuilder {
    let values: DocumentValues
    var findings: Findings

    init(values: DocumentValues, findings: Findings) {
        self.values = values
        self.findings = findings
    }

    var hasSocket: Bool { values.isPresent("application.socket") }

    mutating func build() -> AgentConfiguration? {
        let coordinator = coordinator()
        let directories = directories()
        let gate = gate()
        var actions: [ActionName: Action] = [:]
        for entry in values.named("actions") ?? [] {
            if let name = ActionName(rawValue: entry.name), let action = action(entry.values) {
                actions[name] = action
            }
        }
        var health: [HealthCheckName: HealthCheck] = [:]
        for entry in values.named("health") ?? [] {
            guard let name = HealthCheckName(rawValue: entry.name) else { continue }
            if let check = healthCheck(entry.values) { health[name] = check }
        }
        var caches: [CacheName: Cache] = [:]
        for entry in values.named("caches") ?? [] {
            guard let name = CacheName(rawValue: entry.name) else { continue }
            if let cache = cache(entry.values) { caches[name] = cache }
        }
        let release = releaseActions(among: actions)
        guard !findings.hasErrors, let coordinator, let directories, let gate,
            let settle = values.span("gate.reads_settle")
        else { return nil }
        let shared = values.list("application.shared")?.map(\.text) ?? []
        return AgentConfiguration(
            file: findings.file, node: values.name("node"), coordinator: coordinator,
            directories: directories, applicationSocket: values.text("application.socket"),
            shared: shared, release: release,
            gate: gate, probes: probes(),
            nginx: values.text("gate.nginx") ?? "/etc/nginx/nginx.conf",
            haproxy: values.text("gate.haproxy") ?? "/etc/haproxy/haproxy.cfg",
            caddy: values.text("gate.caddy") ?? "/etc/caddy/Caddyfile",
            readsSettleWithin: settle, actions: actions, health: health,
            caches: caches)
    }

    private mutating func releaseActions(among actions: [ActionName: Action]) -> ReleaseActions {
        var release = ReleaseActions()
        for occasion in ReleaseActions.Occasion.allCases {
            let key = "release.\(occasion.rawValue)"
            guard let name: ActionName = values.name(key) else { continue }
            release[occasion] = name
            let isDeclared = values.named("actions")?.contains { $0.name == name.rawValue } == true
            if !isDeclared {
                findings.error(
                    "action", at: values.position(of: key),
                    "\(quoted(name.rawValue)) is not among the actions of this file",
                    advice: "declare it under `actions`")
            } else if occasion != .report, actions[name]?.isRepeatable == false {
                findings.error(
                    "action", at: values.position(of: key),
                    "\(quoted(name.rawValue)) runs again when an agent died while it ran",
                    advice:
                        "make it so that a second run does what one does, and say `repeatable: true`"
                )
            }
        }
        if (release[.switch] == nil) != (release[.report] == nil) {
            findings.error(
                "action", at: values.position(of: "release"),
                "whoever switches to a version has to say which one is served, and the other way round",
                advice: "name both `switch` and `report`")
        }
        release.heedsDatabase = values.flag("release.standby") == true
        if release.heedsDatabase, !release.areForVersions {
            findings.error(
                "action", at: values.position(of: "release.standby"),
                "nothing switches a version to the standby",
                advice:
                    "name `switch` and `report`, or remove `standby`: a bundle is started there by the plan"
            )
        }
        return release
    }

    private mutating func coordinator() -> AgentConfiguration.CoordinatorAddress? {
        guard var url = values.text("coordinator.url") else { return nil }
        while url.hasSuffix("/") { url.removeLast() }
        if let address = HTTPAddress(url), address.isInClear,
            values.flag("coordinator.insecure") == false
        {
            findings.error(
                "insecure", at: values.position(of: "coordinator.url"),
                "the token would travel in clear to \(address.host)",
                advice: "use https, or say `insecure: true` for a network that you trust")
        }
        let authorities = values.text("coordinator.authorities")
        if let authorities, access(authorities, R_OK) != 0 {
            findings.error(
                "unreadable", at: values.position(of: "coordinator.authorities"),
                "cannot read \(authorities)",
                advice: "name a PEM file that the agent may read, or leave the key out")
        }
        guard let token = values.text("coordinator.token").flatMap(SecretReference.init) else {
            return nil
        }
        return .init(url: url, token: token, authorities: authorities)
    }

    private mutating func directories() -> AgentConfiguration.Directories? {
        guard let app = values.text("directories.app"),
            let state = values.text("directories.state"),
            let runtime = values.text("directories.runtime")
        else { return nil }
        if runtime.utf8.count > 90 {
            findings.error(
                "value", at: values.position(of: "directories.runtime"),
                "`directories.runtime` is too long for the path of a socket",
                advice: "name one of at most 90 bytes")
        }
        return .init(app: app, state: state, runtime: runtime)
    }

    private mutating func probes() -> [ProbeTarget]? {
        guard let urls = values.list("gate.probe"), let address = values.text("gate.probe_at")
        else { return nil }
        let targets = urls.compactMap { ProbeTarget($0.text, at: address) }
        if targets.count != urls.count {
            findings.error(
                "value", at: values.position(of: "gate.probe_at"),
                "\(quoted(address)) is not an address of this machine",
                advice:
                    "write such as 127.0.0.1 or 10.0.0.7, without a port, or unix:/run/site.sock")
        }
        return targets
    }

    private mutating func gate() -> GateConfiguration? {
        var group: UInt32?
        if let name = values.text("gate.group") {
            group = Account.group(name)
            if group == nil {
                findings.error(
                    "group", at: values.position(of: "gate.group"),
                    "there is no group \(quoted(name)) on this machine",
                    advice: "name the group of the proxy's workers, such as www-data")
            }
        }
        guard let runtime = values.text("directories.runtime"),
            let mode = values.text("gate.mode").flatMap({ UInt32($0, radix: 8) }),
            let longestHold = values.span("gate.longest_hold"),
            let inFlight = values.span("gate.in_flight_at_most"),
            let streams = values.count("gate.streams"),
            let reading = values.list("gate.routes.reading"),
            let writing = values.list("gate.routes.writing")
        else { return nil }
        return GateConfiguration(
            runtimeDirectory: runtime,
            loopback: values.text("gate.loopback").flatMap(GateConfiguration.Loopback.init),
            routes: GateRoutes(
                reading: reading.compactMap { GateRoute($0.text) },
                writing: writing.compactMap { GateRoute($0.text) }),
            socketMode: mode, socketGroup: group, longestHold: longestHold,
            inFlightAtMost: inFlight, streamsAtMost: streams)
    }
}
