// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel
import WriteGate

/// Every key that an agent's configuration may have. Reading, suggestions and the test of `agents/agent.yaml` all read this one table.
enum AgentKeys {
    static let rules = DocumentRules(
        noun: "configuration", reference: "agents/agent.yaml",
        beginning: "agents/agent.yaml is an example with every key; `coordinator` and"
            + " `directories` are required",
        secretAdvice: nil, keys: table)

    static let table = DocumentTable([
        DocumentKey("node", .name, .optional),
        DocumentKey("coordinator", .section(coordinator), .required),
        DocumentKey("directories", .section(directories), .required),
        DocumentKey(
            "application",
            .section([
                DocumentKey("socket", .form(.socketTemplate), .optional),
                DocumentKey(
                    "shared",
                    .list(
                        of: .form(.releasePath), .init("list of paths in a release", maximum: 100)),
                    .fallback("[]")),
            ]), .optional),
        DocumentKey(
            "release",
            .section(
                ReleaseActions.Occasion.allCases.map {
                    DocumentKey($0.rawValue, .name, .optional)
                } + [DocumentKey("standby", .flag, .fallback("false"))]), .optional),
        DocumentKey("gate", .section(gate), .optional),
        DocumentKey("actions", .named(action, maximum: 200), .fallback("none")),
        DocumentKey("health", .named(health, maximum: 100), .fallback("none")),
        DocumentKey("caches", .named(cache, maximum: 100), .fallback("none")),
    ])

    private static let coordinator: [DocumentKey] = [
        DocumentKey("url", .form(.coordinatorURL), .required),
        DocumentKey("token", .form(.secret), .required),
        DocumentKey("authorities", .absolutePath, .optional),
        DocumentKey("insecure", .flag, .fallback("false")),
    ]

    private static let directories: [DocumentKey] = [
        DocumentKey("app", .absolutePath, .required),
        DocumentKey("state", .absolutePath, .fallback("/var/lib/sluice")),
        DocumentKey("runtime", .absolutePath, .fallback("/run/sluice")),
    ]

    private static let gate: [DocumentKey] = [
        DocumentKey("group", .text(maximum: 64), .optional),
        DocumentKey("mode", .form(.socketMode), .fallback("0660")),
        DocumentKey("loopback", .form(.loopback), .optional),
        DocumentKey(
            "probe",
            .list(of: .form(.probe), .init("list of http:// or https:// URLs", maximum: 100)),
            .optional),
        DocumentKey("nginx", .absolutePath, .fallback("/etc/nginx/nginx.conf")),
        DocumentKey("haproxy", .absolutePath, .fallback("/etc/haproxy/haproxy.cfg")),
        DocumentKey("caddy", .absolutePath, .fallback("/etc/caddy/Caddyfile")),
        DocumentKey("probe_at", .text(maximum: 255), .fallback("127.0.0.1")),
        DocumentKey("longest_hold", .span(.seconds(1) ... .minutes(10)), .fallback("110s")),
        DocumentKey("in_flight_at_most", .span(.seconds(1) ... .minutes(60)), .fallback("10m")),
        DocumentKey("streams", .count(0...100_000), .fallback("250")),
        DocumentKey("reads_settle", .span(.zero ... .minutes(1)), .fallback("500ms")),
        DocumentKey(
            "routes",
            .section([
                DocumentKey("reading", .routes, .fallback("[]")),
                DocumentKey("writing", .routes, .fallback("[]")),
            ]), .optional),
    ]

    private static let action: [DocumentKey] = [
        DocumentKey("command", .arguments, .required),
        DocumentKey("user", .text(maximum: 64), .optional),
        DocumentKey("timeout", .span(.milliseconds(100) ... .minutes(1440)), .fallback("60s")),
        DocumentKey("output_limit", .count(4096...(64 << 20)), .fallback("1048576")),
        DocumentKey(
            "environment",
            .list(of: .form(.variable), .init("list of variables", maximum: 100)), .fallback("[]")),
        DocumentKey("repeatable", .flag, .fallback("false")),
        DocumentKey("awaits_socket", .flag, .fallback("true")),
        DocumentKey("answers_needs", .flag, .fallback("false")),
        DocumentKey("probe", .arguments, .optional),
    ]

    private static let health: [DocumentKey] = [
        DocumentKey("socket", .form(.healthSocket), .optional),
        DocumentKey("address", .form(.address), .optional),
        DocumentKey("action", .name, .optional),
        DocumentKey("fastcgi", .form(.releasePath), .optional),
        DocumentKey("path", .form(.requestPath), .fallback("/")),
        DocumentKey("host", .text(maximum: 255), .fallback("localhost")),
        DocumentKey("request_headers", .headers, .fallback("[]")),
        DocumentKey("status", .count(200...599), .fallback("200")),
        DocumentKey(
            "header",
            .section([
                DocumentKey("name", .text(maximum: 100), .fallback("X-Release")),
                DocumentKey("equals", .text(maximum: 500), .fallback("{release}")),
                DocumentKey("ignore", .flag, .fallback("false")),
            ]), .optional),
        DocumentKey("body_contains", .text(maximum: 1000), .optional),
        DocumentKey("timeout", .span(.milliseconds(50) ... .minutes(1)), .fallback("2s")),
    ]

    private static let cache: [DocumentKey] = [
        DocumentKey("generation", .flag, .fallback("false")),
        DocumentKey(
            "purge",
            .section([
                DocumentKey("address", .form(.address), .required),
                DocumentKey("method", .word(["PURGE", "BAN", "DELETE"]), .fallback("PURGE")),
                DocumentKey("host", .text(maximum: 255), .fallback("localhost")),
                DocumentKey(
                    "paths",
                    .list(of: .form(.requestPath), .init("list of paths", maximum: 1000)),
                    .fallback("[/]")),
                DocumentKey("headers", .headers, .fallback("[]")),
            ]), .optional),
        DocumentKey("directory", .absolutePath, .optional),
        DocumentKey("action", .name, .optional),
    ]
}
