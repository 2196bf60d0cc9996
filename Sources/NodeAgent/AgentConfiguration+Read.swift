// SPDX-License-Identifier: Apache-2.0

import CurlClient
import Glibc
import UpgradeModel
import WriteGate
import Yams

extension AgentConfiguration {
    /// Reads `agent.yaml`: a configuration that cannot be wrong, or everything that is wrong with it.
    ///
    /// - Returns: `nil` when one of the diagnostics is an error.
    static func read(file: String) -> (configuration: AgentConfiguration?, findings: [Diagnostic]) {
        let findings = ConfigurationFindings(file: file)
        let text: String
        switch readText(file, atMost: 1 << 20) {
        case .success(let read): text = read
        case .failure(let failure):
            findings.error(
                "unreadable", at: nil, failure.message, advice: "agents/agent.yaml is an example")
            return (nil, findings.list)
        }
        return read(text: text, file: file)
    }

    static func read(text: String, file: String) -> (
        configuration: AgentConfiguration?, findings: [Diagnostic]
    ) {
        let findings = ConfigurationFindings(file: file)
        var configuration: AgentConfiguration?
        do {
            // Nodes refer to their anchors weakly: the parser must live until they are read.
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            try withExtendedLifetime(parser) {
                let root = try parser.singleRoot()
                if let root, root.hasAnchors(depth: 0) {
                    findings.error(
                        "alias", at: root.mark,
                        "anchors and aliases are not read, nor more than 32 levels",
                        advice: "write the value out where it is needed")
                } else {
                    configuration = ConfigurationBuilder(findings: findings).build(root)
                }
            }
        } catch {
            report(error, findings)
        }
        return (findings.hasErrors ? nil : configuration, findings.sorted)
    }

    private static func report(_ error: any Error, _ findings: ConfigurationFindings) {
        switch error {
        case YamlError.scanner(_, let problem, let mark, _),
            YamlError.parser(_, let problem, let mark, _),
            YamlError.composer(_, let problem, let mark, _):
            findings.error(
                "yaml", at: mark, "not valid YAML: \(problem)",
                advice: "check the indentation, quotes and brackets before this place")
        case YamlError.duplicatedKeysInMapping(let keys, let context):
            findings.error(
                "duplicate-key", at: context.mark, "`\(keys.first ?? "")` is given more than once",
                advice: "keep one of them")
        default:
            findings.error(
                "yaml", at: nil, "not valid YAML", advice: "compare it with agents/agent.yaml")
        }
    }
}

extension Node {
    /// Whether there is an anchor, or a nesting that no configuration has.
    fileprivate func hasAnchors(depth: Int) -> Bool {
        if anchor != nil || depth > 32 { return true }
        switch self {
        case .scalar: return false
        case .alias: return true
        case .sequence(let items): return items.contains { $0.hasAnchors(depth: depth + 1) }
        case .mapping(let pairs):
            return pairs.contains {
                $0.hasAnchors(depth: depth + 1) || $1.hasAnchors(depth: depth + 1)
            }
        }
    }
}

private struct ConfigurationBuilder {
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
        let isPlain = url.hasPrefix("http://")
        guard isPlain || url.hasPrefix("https://"), !url.contains("?"), !url.contains("@"),
            !url.contains(" ")
        else {
            findings.error(
                "value", at: section.mark,
                "`coordinator.url` has to be http://HOST:PORT or https://HOST:PORT")
            return nil
        }
        let host = url.drop { $0 != "/" }.dropFirst(2)
        if isPlain, !isInsecure, !host.hasPrefix("127."), !host.hasPrefix("localhost"),
            !host.hasPrefix("[::1]")
        {
            findings.error(
                "insecure", at: section.mark, "the token would travel in clear to \(host)",
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

// MARK: Actions, checks, caches

extension ConfigurationBuilder {
    private func action(_ section: ConfigurationSection, hasSocket: Bool) -> Action? {
        defer { section.finish() }
        let words = command(section, "command", required: true, hasSocket: hasSocket)
        let probe = command(section, "probe", required: false, hasSocket: hasSocket)
        let user = section.text("user").flatMap { account($0, section) }
        let environment = section.texts("environment").compactMap { name, mark -> String? in
            if isVariable(name), name != "PATH", !name.hasPrefix("SLUICE_"), !name.hasPrefix("LD_")
            {
                return name
            }
            findings.error(
                "value", at: mark, "`\(name)` cannot be passed on",
                advice:
                    "name a variable of the agent's environment; PATH, SLUICE_* and LD_* are not")
            return nil
        }
        let action = Action(
            command: words ?? [], user: user,
            timeout: section.span(
                "timeout", default: .seconds(60), from: .milliseconds(100), to: .minutes(1440)),
            outputLimit: section.number("output_limit", default: 1 << 20, in: 4096...(64 << 20)),
            environment: environment, isRepeatable: section.boolean("repeatable", default: false),
            probe: probe)
        return words == nil ? nil : action
    }

    private func command(
        _ section: ConfigurationSection, _ key: String, required: Bool, hasSocket: Bool
    ) -> [Action.Argument]? {
        let words = section.texts(key, required: required)
        guard let program = words.first else { return nil }
        guard program.text.hasPrefix("/") else {
            findings.error(
                "value", at: program.mark,
                "the program has to be an absolute path, not `\(program.text)`",
                advice: "there is no shell and no search path")
            return nil
        }
        if access(program.text, X_OK) != 0 {
            findings.warning(
                "not-executable", at: program.mark, "\(program.text) cannot be run now")
        }
        for word in words where word.text.contains("{") {
            let argument = Action.Argument(word.text)
            if case .text = argument {
                findings.error(
                    "placeholder", at: word.mark, "`\(word.text)` is not a placeholder",
                    advice: "{release}, {release_dir} or {socket}, as a whole argument")
            } else if argument == .socket, !hasSocket {
                findings.error(
                    "placeholder", at: word.mark, "{socket} needs `application.socket`")
            }
        }
        return words.map { Action.Argument($0.text) }
    }

    private func isVariable(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { ($0 >= 65 && $0 <= 90) || ($0 >= 48 && $0 <= 57) || $0 == 95 }
    }

    private func account(_ name: String, _ section: ConfigurationSection) -> Action.Account? {
        // SAFETY: the entry's pointers lead into `buffer`, which lives as long; only numbers are used afterwards.
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 65_536)
        guard getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else {
            findings.error("user", at: section.mark, "there is no user `\(name)` on this machine")
            return nil
        }
        guard geteuid() == 0 || geteuid() == entry.pw_uid else {
            findings.error(
                "user", at: section.mark, "only an agent of root can run an action as `\(name)`",
                advice: "run the agent as root, or leave `user` out")
            return nil
        }
        var count: Int32 = 256
        var groups = [gid_t](repeating: 0, count: Int(count))
        let listed = getgrouplist(name, entry.pw_gid, &groups, &count)
        let supplementary = listed >= 0 ? Array(groups.prefix(Int(count))) : [entry.pw_gid]
        return Action.Account(
            name: name, user: entry.pw_uid, group: entry.pw_gid, groups: supplementary)
    }

    private func healthCheck(_ section: ConfigurationSection, hasSocket: Bool) -> HealthCheck? {
        defer { section.finish() }
        let socket = section.text("socket")
        let address = section.text("address")
        let path = section.text("path") ?? "/"
        let host = section.text("host") ?? "localhost"
        let header = section.section("header")
        let headerName = header.text("name") ?? "X-Release"
        let headerValue = header.text("equals") ?? "{release}"
        let ignoresHeader = header.boolean("ignore", default: false)
        header.finish()
        let check = HealthCheck(
            destination: .applicationSocket, path: path, host: host,
            status: section.number("status", default: 200, in: 200...599),
            header: ignoresHeader
                ? nil
                : .init(name: headerName, value: headerValue == "{release}" ? nil : headerValue),
            body: section.text("body_contains"),
            timeout: section.span(
                "timeout", default: .seconds(2), from: .milliseconds(50), to: .minutes(1)))
        guard path.hasPrefix("/"), !path.contains(" ") else {
            findings.error(
                "value", at: section.mark,
                "`\(section.path).path` has to begin with / and have no spaces")
            return nil
        }
        guard let destination = destination(socket, address, section, hasSocket: hasSocket) else {
            return nil
        }
        var complete = check
        complete.destination = destination
        return complete
    }

    private func destination(
        _ socket: String?, _ address: String?, _ section: ConfigurationSection, hasSocket: Bool
    ) -> HealthCheck.Destination? {
        switch (socket, address) {
        case ("{socket}"?, nil):
            if hasSocket { return .applicationSocket }
            findings.error("placeholder", at: section.mark, "{socket} needs `application.socket`")
        case (let socket?, nil) where socket.hasPrefix("/"): return .socket(socket)
        case (nil, let address?) where isAddress(address): return .address(address)
        default:
            findings.error(
                "value", at: section.mark, "`\(section.path)` needs one of `socket` and `address`",
                advice: "socket: \"{socket}\" or an absolute path; address: 127.0.0.1:80")
        }
        return nil
    }

    /// `host:port` of a literal address or a plain name.
    private func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0 else { return false }
        return isSafeName(String(parts[0]))
    }

    private func cache(_ section: ConfigurationSection, actions: [ActionName]) -> Cache? {
        defer { section.finish() }
        let isGeneration = section.boolean("generation", default: false)
        let directory = section.path("directory")
        let action = section.text("action")
        let hasPurge = section.node("purge") != nil
        switch (isGeneration, directory, action, hasPurge) {
        case (true, nil, nil, false): return .generation
        case (false, let directory?, nil, false):
            guard directory.split(separator: "/").count >= 2 else {
                findings.error(
                    "value", at: section.mark, "`\(directory)` is not a directory to be emptied",
                    advice: "name one at least two levels below /")
                return nil
            }
            return .directory(directory)
        case (false, nil, let action?, false):
            if let name = ActionName(rawValue: action), actions.contains(name) {
                return .action(name)
            }
            findings.error(
                "unknown-action", at: section.mark, "`\(action)` is not among this file's actions",
                advice: "declare it under `actions`")
            return nil
        case (false, nil, nil, true): return purge(section.section("purge"))
        default:
            findings.error(
                "value", at: section.mark, "`\(section.path)` needs one way to be flushed",
                advice: "write one of generation: true, purge, directory, action")
            return nil
        }
    }

    private func purge(_ section: ConfigurationSection) -> Cache? {
        defer { section.finish() }
        let address = section.requiredText("address")
        let method = section.text("method") ?? "PURGE"
        let host = section.text("host") ?? "localhost"
        let paths = section.texts("paths").map(\.text)
        let headers = section.texts("headers").compactMap { text, mark -> HTTPHeader? in
            if let colon = text.firstIndex(of: ":"), colon != text.startIndex {
                let value = text[text.index(after: colon)...].drop { $0 == " " }
                return HTTPHeader(String(text[..<colon]), String(value))
            }
            findings.error("value", at: mark, "`\(text)` is not `Name: value`")
            return nil
        }
        guard let address else { return nil }
        guard isAddress(address), let verb = HTTPMethod(method),
            ["PURGE", "BAN", "DELETE"].contains(method)
        else {
            findings.error(
                "value", at: section.mark,
                "`\(section.path)` needs `address` as HOST:PORT and PURGE, BAN or DELETE")
            return nil
        }
        guard paths.allSatisfy({ $0.hasPrefix("/") && !$0.contains(" ") }) else {
            findings.error(
                "value", at: section.mark, "`\(section.path).paths` have to begin with /")
            return nil
        }
        return .purge(
            .init(
                address: address, method: verb, host: host, paths: paths.isEmpty ? ["/"] : paths,
                headers: headers))
    }
}
