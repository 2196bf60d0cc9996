// SPDX-License-Identifier: Apache-2.0

import CurlClient
import Glibc
import UpgradeModel
import WriteGate
import Yams

/// Makes a configuration from its sections and collects what is wrong with them.
struct ConfigurationBuilder {
    let findings: ConfigurationFindings

    func build(_ root: Node?) -> AgentConfiguration? {
        let top = ConfigurationSection(root, path: "", findings: findings)
        let node = top.text("node")
        if let node, NodeName(rawValue: node) == nil {
            findings.error("name", at: top.mark, "`node` is not a name", advice: "such as web-1")
        }
        let coordinator = coordinator(top.section("coordinator"))
        let directories = directories(top.section("directories"))
        let application = top.section("application")
        let socket = application.path("socket")
        if let socket, !socket.contains("{release}") {
            findings.error(
                "value", at: application.mark, "`application.socket` has no {release} in it",
                advice: "two releases run beside one another; such as /run/shop/{release}.sock")
        }
        application.finish()
        let gateSection = top.section("gate")
        let settle = gateSection.span(
            "reads_settle", default: .milliseconds(500), from: .zero, to: .minutes(1))
        let gate = gate(gateSection, runtime: directories?.runtime ?? "/run/sluice")
        let actions = top.named("actions", ActionName.self).map {
            ($0, action($1, hasSocket: socket != nil))
        }
        let health = top.named("health", HealthCheckName.self).map {
            ($0, healthCheck($1, hasSocket: socket != nil))
        }
        let names = actions.map(\.0)
        let caches = top.named("caches", CacheName.self).map { ($0, cache($1, actions: names)) }
        top.finish()
        guard let coordinator, let directories else { return nil }
        return AgentConfiguration(
            file: findings.file, node: node.flatMap { NodeName(rawValue: $0) },
            coordinator: coordinator,
            directories: directories, applicationSocket: socket, gate: gate,
            readsSettleWithin: settle,
            actions: table(actions), health: table(health), caches: table(caches))
    }

    private func table<Name: Hashable, Value>(_ pairs: [(Name, Value?)]) -> [Name: Value] {
        Dictionary(
            pairs.compactMap { name, value in value.map { (name, $0) } }, uniquingKeysWith: { $1 })
    }

    private func coordinator(
        _ section: ConfigurationSection
    ) -> AgentConfiguration.CoordinatorAddress? {
        defer { section.finish() }
        let url = section.requiredText("url")
        let isInsecure = section.boolean("insecure", default: false)
        let authorities = section.path("authorities")
        let token = section.requiredText("token").flatMap { text -> SecretReference? in
            if text.hasPrefix("file:/") { return .file(String(text.dropFirst(5))) }
            if text.hasPrefix("env:"), text.count > 4 {
                return .environment(String(text.dropFirst(4)))
            }
            findings.error(
                "secret", at: section.mark, "`coordinator.token` has to name where the token is",
                advice: "write file:/etc/sluice/node.token or env:NAME, never the token itself")
            return nil
        }
        guard var url, let token else { return nil }
        while url.hasSuffix("/") { url.removeLast() }
        guard let address = HTTPAddress(url) else {
            findings.error(
                "value", at: section.mark,
                "`coordinator.url` has to be http://HOST:PORT or https://HOST:PORT")
            return nil
        }
        // The same rule as that of `sluice`: compared as an address, not by how a name begins.
        if address.isInClear, !isInsecure {
            findings.error(
                "insecure", at: section.mark, "the token would travel in clear to \(address.host)",
                advice: "use https, or say `insecure: true` for a network that you trust")
        }
        if let authorities, access(authorities, R_OK) != 0 {
            findings.error("unreadable", at: section.mark, "cannot read \(authorities)")
        }
        return .init(url: url, token: token, authorities: authorities)
    }

    private func directories(_ section: ConfigurationSection) -> AgentConfiguration.Directories? {
        let app = section.path("app", required: true)
        let state = section.path("state") ?? "/var/lib/sluice"
        let runtime = section.path("runtime") ?? "/run/sluice"
        section.finish()
        guard runtime.utf8.count <= 90 else {
            findings.error(
                "value", at: section.mark,
                "`directories.runtime` is too long for the path of a socket",
                advice: "name one of at most 90 bytes")
            return nil
        }
        return app.map { .init(app: $0, state: state, runtime: runtime) }
    }

    private func gate(_ section: ConfigurationSection, runtime: String) -> GateConfiguration {
        var gate = GateConfiguration(runtimeDirectory: runtime)
        if let text = section.text("loopback") {
            gate.loopback = GateConfiguration.Loopback(text)
            if gate.loopback == nil {
                findings.error(
                    "value", at: section.mark,
                    "`gate.loopback` has to be an address of 127.0.0.0/8 with a port",
                    advice: "such as 127.0.0.1:9747")
            }
        }
        if let name = section.text("group") {
            gate.socketGroup = group(name)
            if gate.socketGroup == nil {
                findings.error(
                    "group", at: section.mark, "there is no group `\(name)` on this machine",
                    advice: "name the group of the proxy's workers, such as www-data")
            }
        }
        if let text = section.text("mode") {
            if let mode = UInt32(text, radix: 8), mode <= 0o777 {
                gate.socketMode = mode
            } else {
                findings.error(
                    "value", at: section.mark, "`gate.mode` has to be octal, such as \"0660\"")
            }
        }
        gate.longestHold = section.span(
            "longest_hold", default: gate.longestHold, from: .seconds(1), to: .minutes(10))
        gate.inFlightAtMost = section.span(
            "in_flight_at_most", default: gate.inFlightAtMost, from: .seconds(1), to: .minutes(60))
        let routes = section.section("routes")
        gate.routes = GateRoutes(
            reading: self.routes(routes, "reading"), writing: self.routes(routes, "writing"))
        routes.finish()
        section.finish()
        return gate
    }

    private func routes(_ section: ConfigurationSection, _ key: String) -> [GateRoute] {
        section.texts(key).compactMap { text, mark in
            if let route = GateRoute(text) { return route }
            findings.error(
                "route", at: mark, "`\(text)` is not a route",
                advice: "write a method and a path, with `*` only at the end: POST /api/search*")
            return nil
        }
    }

    private func group(_ name: String) -> UInt32? {
        // SAFETY: the entry's pointers lead into `buffer`, which lives as long; only the number is used afterwards.
        var entry = Glibc.group()
        var found: UnsafeMutablePointer<Glibc.group>?
        var buffer = [CChar](repeating: 0, count: 65_536)
        guard getgrnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else {
            return nil
        }
        return entry.gr_gid
    }
}
