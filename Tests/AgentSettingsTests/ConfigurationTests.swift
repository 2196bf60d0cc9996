// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Testing
import UpgradeModel
import WriteGate

@testable import AgentSettings

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
        #expect(
            Set(configuration.actions.keys.map(\.rawValue)) == [
                "start-app", "stop-app", "build-release", "pull-image", "switch-image",
                "report-image", "remove-image", "python-version",
            ])
        #expect(
            configuration.actions.filter { $0.value.answersNeeds }.map(\.key.rawValue)
                == ["python-version"], "nothing may be asked by a bundle that does not say so")
        #expect(configuration.release[.switch] == ActionName(unchecked: "switch-image"))
        #expect(configuration.release.areForVersions)
        #expect(configuration.caches.count == 4)
        #expect(configuration.health.count == 1)
        let start = try #require(configuration.actions[ActionName(unchecked: "start-app")])
        #expect(start.isRepeatable && start.user?.name == "www-data" && start.environment == ["TZ"])
    }

    /// They are run again after a crash, and a node that switches without saying what it serves proves nothing.
    @Test func actionsOfAReleaseAreDeclaredRepeatableAndComeTogether() {
        let found = findings(
            least + """
                release: {fetch: pull, switch: turn, build: make}
                actions:
                  pull: {command: [/bin/true]}
                  turn: {command: [/bin/true], repeatable: true}
                """)
        #expect(found.contains { $0.contains("`make` is not among the actions") })
        #expect(found.contains { $0.contains("`pull` runs again") })
        #expect(found.contains { $0.contains("name both `switch` and `report`") })
        #expect(!found.contains { $0.contains("`turn`") })
    }

    @Test func actionsThatKnowTheStandbySaySo() throws {
        let actions = """
            actions: {turn: {command: [/bin/true], repeatable: true}, say: {command: [/bin/true]}}

            """
        let knowing = least + "release: {switch: turn, report: say, standby: true}\n" + actions
        let read = AgentConfiguration.read(text: knowing, file: "a")
        #expect(read.configuration?.release.heedsDatabase == true)
        let silent = knowing.replacing(", standby: true", with: "")
        #expect(
            AgentConfiguration.read(text: silent, file: "a").configuration?.release.heedsDatabase
                == false)
        let found = findings(least + "release: {standby: true}\n")
        #expect(found.contains { $0.contains("nothing switches a version to the standby") })
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
            "agent.yaml:1:1: error: `coordinatr` is not a key of a configuration; did you mean `coordinator`?",
            "agent.yaml:3:8: error: expected http://HOST:PORT or https://HOST:PORT",
            "agent.yaml:4:10: error: expected where the token is, never the token itself",
            "agent.yaml:6:8: error: expected an absolute path, not `relative`",
            "agent.yaml:7:10: error: expected an absolute path, not `/a/../b`",
            "agent.yaml:9:9: error: expected permissions in octal, not `0999`",
            "agent.yaml:11:15: error: `search` is not a route",
            "agent.yaml:14:5: error: `comand` is not a key of `actions.go`; did you mean `command`?",
            "agent.yaml:15:14: error: expected a span, not `5`",
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

    @Test(arguments: [
        ("coordinator: {url: \"http://192.0.2.7:1\", token: env:T}", "would travel in clear"),
        ("coordinator: {url: \"http://u:p@127.0.0.1\", token: env:T}", "expected http"),
        ("coordinator: {url: \"http://127.evil.example\", token: env:T}", "travel in clear"),
        ("coordinator: {url: \"http://localhost.evil.example\", token: env:T}", "in clear"),
        ("coordinator: {url: \"http://[::1].evil.example\", token: env:T}", "expected http"),
        ("coordinator: {url: \"http://127.0.0.1.evil.example:1\", token: env:T}", "in clear"),
        ("actions: {a: {command: [/bin/echo, \"x{release}\"]}}", "not a placeholder"),
        ("actions: {a: {command: [/bin/echo, \"{socket}\"]}}", "needs `application.socket`"),
        ("actions: {a: {command: []}}", "names no program"),
        ("actions: {a: {command: [/bin/true], probe: []}}", "names no program"),
        ("actions: {a: {command: /bin/true}}", "expected a list"),
        ("actions: {a: {command: [/bin/echo], environment: [PATH]}}", "cannot be passed on"),
        (
            "actions: {a: {command: [/bin/echo], environment: [LD_PRELOAD]}}",
            "cannot be passed on"
        ),
        ("actions: {a: {command: [/bin/echo], user: nobody-at-all}}", "there is no user"),
        (
            "actions: {a: {command: [/bin/echo], environment: [BASH_ENV]}}",
            "cannot be passed on"
        ),
        ("actions: {a: {command: [/bin/echo], environment: [PYTHONPATH]}}", "cannot be"),
        ("gate: {loopback: \"0.0.0.0:80\"}", "127.0.0.0/8"),
        ("gate: {mode: \"0777\"}", "everybody may ask"),
        ("caches: {a: {directory: /etc/nginx}}", "not a directory to be emptied"),
        ("caches: {a: {directory: /usr/share/x}}", "not a directory to be emptied"),
        ("caches: {a: {directory: /var/lib}}", "which is Sluice's"),
        (
            "directories: {app: /srv/app}\ncaches: {a: {directory: /srv/app/releases}}",
            "which is Sluice's"
        ),
        ("health: {a: {address: \"127.0.0.1:1\", request_headers: [x]}}", "expected a header"),
        ("gate: {longest_hold: yes}", "expected a span"),
        ("health: {a: {address: \"169.254.169.254\"}}", "expected an address"),
        ("health: {a: {socket: \"/x\", address: \"127.0.0.1:1\"}}", "needs one of"),
        ("health: {a: {socket: \"/x\", action: b}}", "needs one of"),
        ("health: {a: {action: b}}", "is not among the actions"),
        ("application: {socket: /run/app.sock}", "no {release} in it"),
        ("node: &a web-1", "anchors and aliases"),
        ("node: web-1\nnode: web-2", "is given again"),
        ("node: [", "not valid YAML"),
    ])
    func whatWouldBeUnsafeIsRefused(text: String, expected: String) {
        let read = AgentConfiguration.read(text: text, file: "a")
        #expect(read.configuration == nil)
        #expect(read.findings.contains { $0.description.contains(expected) }, "\(read.findings)")
    }

    @Test(arguments: [
        ("", "1:1: error: the configuration is empty"),
        ("# nothing yet\n\n", "1:1: error: the configuration is empty"),
        ("null\n", "1:1: error: expected the keys of a configuration, not nothing"),
        ("just some words\n", "1:1: error: expected the keys of a configuration, not `just"),
        ("\n- a\n- b\n", "2:1: error: expected the keys of a configuration, not a list"),
    ])
    func aFileWithoutKeysIsOneFindingWhichSaysWhatItIsAndWhatToDo(text: String, expected: String) {
        let found = findings(text)
        #expect(found.count == 1)
        #expect(found.first?.contains("agent.yaml:\(expected)") == true, "\(found)")
        #expect(found.first?.contains("agents/agent.yaml is an example") == true, "\(found)")
    }

    @Test func plainHTTPToThisMachineItselfIsTaken() throws {
        for host in ["127.0.0.1:9740", "127.8.9.1", "localhost:1", "LOCALHOST", "[::1]:9740"] {
            let text = least.replacing("127.0.0.1:9740", with: host)
            #expect(AgentConfiguration.read(text: text, file: "a").findings == [], "\(host)")
        }
    }

    @Test func aHeaderThatIsSentIsAValueOrTheNameOfAFile() throws {
        let text =
            least + """
                health:
                  page:
                    address: "127.0.0.1:80"
                    request_headers: ["X-Tenant: a b", "Authorization: file:/etc/hostname"]
                    header: {ignore: yes}
                    body_contains: '"version": "{release}"'
                """
        let read = AgentConfiguration.read(text: text, file: "a")
        #expect(read.findings == [])
        let check = try #require(read.configuration?.health.values.first)
        #expect(check.requestHeaders.map(\.name) == ["X-Tenant", "Authorization"])
        #expect(
            check.requestHeaders.map(\.value) == [.text("a b"), .file("/etc/hostname")])
        #expect(check.header == nil)
        #expect(check.body == "\"version\": \"{release}\"")
    }

    @Test func sectionsWithNothingInThemAreTheirDefaults() {
        let text = least + "gate:\nactions:\nhealth:\ncaches:\napplication:\n"
        #expect(findings(text) == [])
    }
}
