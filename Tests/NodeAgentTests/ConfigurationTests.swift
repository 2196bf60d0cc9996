// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Testing
import TestSupport
import UpgradeModel
import WriteGate

@testable import NodeAgent

@Suite struct ConfigurationTests {
    private let least = """
        coordinator:
          url: http://127.0.0.1:9740
          token: env:SLUICE_TOKEN
        directories:
          app: /srv/app

        """

    private func findings(_ text: String) -> [String] {
        AgentConfiguration.read(text: text, file: "agent.yaml").findings.map(\.description)
    }

    @Test func theAnnotatedExampleIsReadWithoutAnError() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "../../agents/agent.yaml")
        let read = AgentConfiguration.read(
            text: try String(contentsOf: file, encoding: .utf8), file: "agent.yaml")
        #expect(read.findings.filter { $0.severity == .error } == [])
        let configuration = try #require(read.configuration)
        #expect(Set(configuration.actions.keys.map(\.rawValue)) == ["start-app", "stop-app"])
        #expect(configuration.caches.count == 4)
        #expect(configuration.health.count == 1)
        let start = try #require(configuration.actions[ActionName(unchecked: "start-app")])
        #expect(start.isRepeatable && start.user?.name == "www-data" && start.environment == ["TZ"])
    }

    /// The example names every key: whatever the reader asks for is in it, behind a `#` or not.
    @Test func everyKeyThatIsReadIsInTheAnnotatedExample() throws {
        let here = URL(filePath: #filePath).deletingLastPathComponent()
        let example = try String(
            contentsOf: here.appending(path: "../../agents/agent.yaml"), encoding: .utf8)
        let sources = here.appending(path: "../../Sources/NodeAgent")
        let reader = try ["ConfigurationBuilder.swift", "ConfigurationBuilder+Actions.swift"]
            .map { try String(contentsOf: sources.appending(path: $0), encoding: .utf8) }.joined()
        let calls = [
            "text", "requiredText", "path", "span", "number", "boolean", "texts", "section", "node",
            "named",
        ]
        var keys: Set<String> = []
        for call in calls {
            for piece in reader.split(separator: ".\(call)(", omittingEmptySubsequences: false)
                .dropFirst()
            where piece.utf8.starts(with: "\n".utf8) || piece.contains("\"") {
                let start = piece.drop { $0 == "\n" || $0 == " " }
                if start.first == "\"" {
                    keys.insert(String(start.dropFirst().prefix { $0 != "\"" }))
                }
            }
        }
        #expect(keys.count > 30)
        let missing = keys.sorted().filter { !example.contains("\($0):") }
        #expect(missing == [])
    }

    @Test func theLeastConfigurationHasDefaults() throws {
        let configuration = try #require(
            AgentConfiguration.read(text: least, file: "a").configuration)
        #expect(configuration.directories.state == "/var/lib/sluice")
        #expect(configuration.gate.runtimeDirectory == "/run/sluice")
        #expect(
            configuration.actions.isEmpty && configuration.health.isEmpty
                && configuration.caches.isEmpty)
    }

    @Test func everythingThatIsWrongIsSaidAtOnceWithItsPlace() {
        let text = """
            coordinatr: {}
            coordinator:
              url: ftp://x
              token: abcdef123456
            directories:
              app: relative
              state: /a/../b
            gate:
              mode: "0999"
              routes:
                reading: [search]
            actions:
              go:
                comand: [/bin/true]
                timeout: 5
              ../go:
                command: [/bin/true]
              shell:
                command: [sh, -c, "{release}.x"]
            caches:
              all: {directory: /}
              two: {generation: true, directory: /var/cache/x}
              none: {}
              act: {action: nothing}
            """
        let found = findings(text)
        for expected in [
            "agent.yaml:1:1: error: `coordinatr` is not a key; did you mean `coordinator`?",
            "`coordinator.token` has to name where the token is",
            "agent.yaml:6:8: error: `directories.app` has to be an absolute path",
            "agent.yaml:7:10: error: `directories.state` has to be an absolute path",
            "`gate.mode` has to be octal",
            "agent.yaml:11:15: error: `search` is not a route",
            "agent.yaml:14:5: error: `actions.go.comand` is not a key; did you mean `command`?",
            "`actions.go.command` is missing",
            "agent.yaml:15:14: error: `actions.go.timeout` has to be a span",
            "agent.yaml:16:3: error: `../go` is not a name",
            "agent.yaml:19:15: error: the program has to be an absolute path, not `sh`",
            "`/` is not a directory to be emptied",
            "`caches.two` needs one way to be flushed",
            "`caches.none` needs one way to be flushed",
            "`nothing` is not among this file's actions",
        ] {
            #expect(found.contains { $0.contains(expected) }, "\(expected) in \(found)")
        }
        #expect(AgentConfiguration.read(text: text, file: "a").configuration == nil)
        #expect(!found.contains { $0.contains("abcdef123456") }, "a secret is never repeated")
    }

    @Test(
        "what would be unsafe is refused",
        arguments: [
            ("coordinator: {url: \"http://192.0.2.7:1\", token: env:T}", "would travel in clear"),
            (
                "coordinator: {url: \"http://127.evil.example\", token: env:T}",
                "would travel in clear to 127.evil.example"
            ),
            ("coordinator: {url: \"http://u:p@127.0.0.1\", token: env:T}", "has to be http"),
            ("actions: {a: {command: [/bin/echo, \"x{release}\"]}}", "not a placeholder"),
            ("actions: {a: {command: [/bin/echo, \"{socket}\"]}}", "needs `application.socket`"),
            ("actions: {a: {command: [/bin/echo], environment: [PATH]}}", "cannot be passed on"),
            (
                "actions: {a: {command: [/bin/echo], environment: [LD_PRELOAD]}}",
                "cannot be passed on"
            ),
            ("actions: {a: {command: [/bin/echo], user: nobody-at-all}}", "there is no user"),
            ("gate: {loopback: \"0.0.0.0:80\"}", "127.0.0.0/8"),
            ("health: {a: {address: \"169.254.169.254\"}}", "needs one of"),
            ("health: {a: {socket: \"/x\", address: \"127.0.0.1:1\"}}", "needs one of"),
            ("application: {socket: /run/app.sock}", "no {release} in it"),
            ("node: &a web-1", "anchors and aliases"),
            ("node: web-1\nnode: web-2", "more than once"),
            ("node: [", "not valid YAML"),
        ])
    func refused(text: String, expected: String) {
        let read = AgentConfiguration.read(text: text, file: "a")
        #expect(read.configuration == nil)
        #expect(read.findings.contains { $0.description.contains(expected) }, "\(read.findings)")
    }

    @Test(
        "a file without keys is one finding, which says what it is and what to do",
        arguments: [
            ("", "1:1: error: the file is empty, or all of it is comments"),
            ("# nothing yet\n\n", "1:1: error: the file is empty, or all of it is comments"),
            ("null\n", "1:1: error: the file is plain text"),
            ("just some words\n", "1:1: error: the file is plain text"),
            ("\n- a\n- b\n", "2:1: error: the file is a list"),
        ])
    func noKeys(text: String, expected: String) {
        let found = findings(text)
        #expect(found.count == 1)
        #expect(found.first?.contains("agent.yaml:\(expected)") == true, "\(found)")
        #expect(found.first?.contains("agents/agent.yaml is an example") == true, "\(found)")
    }

    @Test func aTokenThatOthersMayReadIsRefusedAndNeverShown() throws {
        let directory = try TemporaryDirectory().path
        try write("top-secret", to: directory + "/token", mode: 0o644)
        #expect(throws: SystemFailure.self) { try readToken(.file(directory + "/token")) }
        do { _ = try readToken(.file(directory + "/token")) } catch {
            #expect(!"\(error)".contains("top-secret"))
        }
        try write("top-secret\n", to: directory + "/token", mode: 0o600)
        #expect("\(try readToken(.file(directory + "/token")))" == "(secret)")
    }
}
