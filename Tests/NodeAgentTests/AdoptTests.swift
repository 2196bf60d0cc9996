// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import FoundationEssentials
import Glibc
import HostWork
import Releases
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// `sluice-agent adopt` with applications as people run them, and on nodes that another tool has served.
@Suite(.serialized, .timeLimit(.minutes(5))) struct AdoptTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private static let scripts = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../agents/start").standardized.path()

    private func adopt(
        _ node: TestNode, _ bundle: String, _ arguments: [String] = []
    ) async throws -> (status: Int32?, output: String) {
        try await AgentProcess.run(
            node,
            ["adopt", "--release", "v1", "--bundle", bundle]
                + arguments)
    }

    private func bundle(_ node: TestNode, _ files: [String: String]) throws -> String {
        try node.bundle("v1", files).directory
    }

    /// Ends what an action has started.
    private func end(_ node: TestNode) async throws {
        let store = try ReleaseStore(node.configuration.releases)
        for release in try await store.staged() {
            let processes = ReleaseProcesses(of: store.footprint(of: release), others: [])
            #expect(await processes.end().problem == nil)
        }
    }

    /// Each start script that is shipped, with the smallest application of its kind.
    @Test(arguments: [
        (
            "gunicorn", "wsgi:application", "/usr/bin/gunicorn",
            ["wsgi.py": "def application(e, start):\n    start('200 OK', [])\n    return [b'ok']\n"]
        ),
        (
            "node", "server.js", "/usr/bin/node",
            [
                "server.js":
                    "require('http').createServer((q, a) => a.end('ok')).listen(process.env.SLUICE_SOCKET)"
            ]
        ),
        (
            "puma", "", "/usr/bin/puma",
            ["config.ru": "run ->(env) { [200, {}, ['ok']] }\n"]
        ),
        ("php-fpm", "", "/usr/sbin/php-fpm8.2", ["index.php": "ok"]),
        (
            // Two words of the command, as agent.yaml has them.
            "program", "node\", \"server.js", "/usr/bin/node",
            [
                "server.js":
                    "require('http').createServer((q, a) => a.end('ok')).listen(process.env.SLUICE_SOCKET)"
            ]
        ),
    ])
    func aStartScriptStartsARelease(
        _ script: String, _ argument: String, _ program: String, _ files: [String: String]
    ) async throws {
        try #require(access(program, X_OK) == 0, "scripts/install-dependencies installs \(program)")
        let fastCGI = script == "php-fpm" ? ", fastcgi: index.php" : ""
        let health = "health:\n  page: {socket: \"{socket}\", header: {ignore: true}\(fastCGI)}\n"
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  start-app:
                    command: [\(AdoptTests.scripts)/\(script), start\(argument.isEmpty ? "" : ", \"\(argument)\"")]
                    timeout: 30s
                  stop-app: {command: [\(AdoptTests.scripts)/\(script), stop], timeout: 20s}
                \(health)
                """)
        let directory = try bundle(node, files)
        let adopted = try await adopt(node, directory, ["--action", "start-app"])
        #expect(adopted.status == 0, "\(adopted.output)")
        #expect(adopted.output.contains("v1 is current as generation 1"))
        // Safe to repeat, and the script finds that it runs already.
        #expect(try await adopt(node, directory, ["--action", "start-app"]).status == 0)

        let store = try ReleaseStore(node.configuration.releases)
        let release = try #require(try await store.current()).release
        let processes = ReleaseProcesses(of: store.footprint(of: release), others: [])
        #expect(processes.census().processes > 0, "its processes are known")
        #expect(await processes.freeze().problem == nil)
        #expect(await processes.thaw().problem == nil)
        // The stop script after the agent has ended what was frozen, and after that once more.
        let stop = try #require(node.configuration.actions[ActionName(unchecked: "stop-app")])
        let context = ActionRunner.Context(
            identity: identity("stop"), run: nil, release: release,
            releaseDirectory: store.filesDirectory(of: release),
            socket: store.socketPath(of: release))
        let runner = ActionRunner(outputDirectory: node.configuration.actionOutput)
        #expect(await runner.run(stop, context).state == .done)
        // The script waits for the master, and a worker that has been told to end may do so a moment later.
        try await until("no process of the release is left") { processes.census().processes == 0 }
        #expect(await runner.run(stop, context).state == .done)
    }

    @Test(arguments: [
        ("program, start, /bin/sh, bin/serve", "bin/serve", "/bin/sh"),
        // The release's own puma comes before the machine's.
        ("puma, start", "bin/puma", "puma"),
    ])
    func aProgramThatEndsBeforeItListensIsToldWithWhatItSaid(
        _ start: String, _ file: String, _ name: String
    ) async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  start-app:
                    command: [/usr/bin/env, LOG=ROOT/app.log, \(AdoptTests.scripts)/\(start)]
                    timeout: 30s
                """)
        let directory = try bundle(
            node, [file: "#!/bin/sh\necho 'no such option: --sockte' >&2\nexit 3\n"])
        chmod("\(directory)/\(file)", 0o755)
        let adopted = try await adopt(node, directory, ["--action", "start-app"])
        #expect(adopted.status != 0)
        #expect(adopted.output.contains("no such option: --sockte"), "\(adopted.output)")
        #expect(adopted.output.contains("\(name) ended with 3 before it listened at "))
    }

    /// It is there when the script looks, and gone when the signal is sent.
    @Test(arguments: ["gunicorn", "node", "puma", "php-fpm", "program"])
    func aReleaseThatEndsWhileItIsStoppedIsStopped(_ script: String) throws {
        let directory = try TemporaryDirectory()
        let cat = """
            #!/bin/sh
            if [ -e "$0.asked" ]; then true & wait; echo $!; else : >"$0.asked"; echo "$ALIVE"; fi

            """
        chmod(try directory.write(cat, to: "bin/cat"), 0o755)
        for name in ["app.sock", "app.sock.pid", "app.sock.conf"] {
            try directory.write("1", to: name)
        }
        let stop = try ChildProcess(
            ["/bin/sh", "\(AdoptTests.scripts)/\(script)", "stop"],
            output: directory.path + "/output",
            environment: [
                "PATH": "\(directory.path)/bin:/usr/bin:/bin", "ALIVE": "\(getpid())",
                "SLUICE_SOCKET": directory.path + "/app.sock",
                "SLUICE_RELEASE_DIR": directory.path, "SLUICE_RELEASE": "v1",
            ])
        #expect(stop.wait() == 0, "\(directory.read("output") ?? "")")
        #expect(directory.exists("bin/cat.asked"))
        #expect(!directory.exists("app.sock") && !directory.exists("app.sock.pid"))
    }

    /// One whose master ends with it, and one whose master starts it again and again.
    @Test(arguments: [
        ("raise RuntimeError('no database')", "no process of v1 is left"),
        ("raise SystemExit('no database')", "v1 does not answer at"),
    ])
    func anApplicationThatDiesAfterItsDaemonIsMadeIsFound(_ code: String, _ words: String)
        async throws
    {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  start-app:
                    command: [/bin/sh, -c, 'cd "$SLUICE_RELEASE_DIR" && exec gunicorn --daemon --bind "unix:$SLUICE_SOCKET" wsgi:application']
                    timeout: 25s
                health:
                  page: {socket: "{socket}", header: {ignore: true}}
                """)
        let directory = try bundle(node, ["wsgi.py": code])
        let adopted = try await adopt(node, directory, ["--action", "start-app"])
        #expect(adopted.status == 1)
        #expect(adopted.output.contains(words), "\(adopted.output)")
        #expect(try await ReleaseStore(node.configuration.releases).current() == nil)
        try await end(node)
    }

    @Test func anActionThatStartsNothingMaySaySo() async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  fill-cache: {command: [/bin/true], awaits_socket: false}
                  start-app: {command: [/bin/true], timeout: 500ms}
                """)
        let directory = try bundle(node, ["a": "1"])
        let adopted = try await adopt(node, directory, ["--action", "start-app"])
        #expect(adopted.status == 1 && adopted.output.contains("does not answer at"))
        #expect(try await adopt(node, directory, ["--action", "fill-cache"]).status == 0)
    }

    /// A check waits for less than this server takes for any answer; it is asked with more patience each time.
    @Test func aReleaseThatIsSlowToAnswerIsThere() async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  start-app:
                    command: [/usr/bin/env, WORKERS=1, \(AdoptTests.scripts)/gunicorn, start, "wsgi:application"]
                    timeout: 30s
                health:
                  page: {socket: "{socket}", header: {ignore: true}, timeout: 200ms}
                """)
        let code = """
            import time

            def application(environment, start):
                time.sleep(0.4)
                start('200 OK', [])
                return [b'ok']
            """
        let directory = try bundle(node, ["wsgi.py": code + "\n"])
        let adopted = try await adopt(node, directory, ["--action", "start-app"])
        #expect(adopted.status == 0, "\(adopted.output)")
        try await end(node)
    }

    /// One that is loading when its time is over is told how to get more.
    @Test func aReleaseThatOnlyNeedsMoreTimeIsToldSo() async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  start-app: {command: [/bin/sh, -c, 'setsid sleep 30 <&- >&- 2>&- &'], timeout: 1s}
                """)
        let directory = try bundle(node, ["a": "1"])
        let adopted = try await adopt(node, directory, ["--action", "start-app"])
        #expect(adopted.status == 1)
        #expect(
            adopted.output.contains(
                "give the action that started it a longer `timeout` in \(node.configurationFile)"),
            "\(adopted.output)")
        try await end(node)
    }

    @Test(arguments: ["link", "directory", "releases"])
    func anotherToolsLayoutIsRefusedBeforeAnythingIsMade(_ kind: String) async throws {
        let node = try TestNode(coordinator)
        let app = node.root + "/app"
        let files = FileManager.default
        try files.createDirectory(
            atPath: app + "/releases/20260101120000", withIntermediateDirectories: true)
        switch kind {
        case "link":
            try files.createSymbolicLink(
                atPath: app + "/current", withDestinationPath: "releases/20260101120000")
        case "directory":
            try files.createDirectory(
                atPath: app + "/current", withIntermediateDirectories: false)
        default: break
        }
        let before = try files.subpathsOfDirectory(atPath: app).sorted()
        let adopted = try await adopt(node, try bundle(node, ["a": "1"]))
        #expect(adopted.status == 1)
        #expect(adopted.output.contains("\(app)-sluice"), "\(adopted.output)")
        #expect(try files.subpathsOfDirectory(atPath: app).sorted() == before)
        #expect(!files.fileExists(atPath: node.configuration.journal))
    }

    @Test func aBundleThatIsNoneEndsAsTheBundleCommandDoes() async throws {
        let node = try TestNode(coordinator)
        let adopted = try await adopt(node, node.root + "/nowhere")
        #expect(adopted.status == 3 && adopted.output.contains("[bundle-missing]"))
    }

    @Test func whatTheNodeSharesIsLinkedIntoWhatIsAdopted() async throws {
        let node = try TestNode(coordinator)
        let text = try String(contentsOfFile: node.configurationFile, encoding: .utf8)
        try write(
            text.replacing(
                "application:\n", with: "application:\n  shared: [log, public/uploads]\n"),
            to: node.configurationFile, mode: 0o600)
        let shared = node.root + "/app/shared"
        for path in ["log", "public/uploads"] {
            try FileManager.default.createDirectory(
                atPath: "\(shared)/\(path)", withIntermediateDirectories: true)
        }
        // As Capistrano leaves it: a link to the directory outside.
        let directory = try bundle(node, ["a": "1", "public/index": "x"])
        #expect(symlink("/var/www/shared/log", directory + "/log") == 0)
        let adopted = try await adopt(node, directory)
        #expect(adopted.status == 0, "\(adopted.output)")
        let files = node.root + "/app/current/files"
        let link = try FileManager.default.destinationOfSymbolicLink(atPath: files + "/log")
        #expect(link == shared + "/log")
    }

    @Test(arguments: ["agent.yaml", "program", "directory"])
    func whatOthersMayChangeIsRefused(_ what: String) async throws {
        let node = try TestNode(
            coordinator, extra: "actions:\n  act: {command: [ROOT/bin/act]}\n")
        try FileManager.default.createDirectory(
            atPath: node.root + "/bin", withIntermediateDirectories: true)
        try write("#!/bin/sh\n", to: node.root + "/bin/act", mode: 0o755)
        let check = ["check"]
        #expect(try await AgentProcess.run(node, check).status == 0)
        let place =
            switch what {
            case "agent.yaml": node.configurationFile
            case "program": node.root + "/bin/act"
            default: node.root + "/bin"
            }
        #expect(chmod(place, 0o777) == 0)
        let said = try await AgentProcess.run(node, check)
        #expect(said.status == 1)
        #expect(
            said.output.contains("others may write \(place); chmod go-w \(place)"), "\(said.output)"
        )
    }

    @Test func aDirectoryOfReleasesThatOthersMayChangeIsNamed() async throws {
        let node = try TestNode(coordinator)
        let app = node.configuration.directories.app
        #expect(try await AgentProcess.run(node, ["check"]).output.contains("[trust]") == false)
        try FileManager.default.createDirectory(atPath: app, withIntermediateDirectories: true)
        #expect(chmod(app, 0o777) == 0)
        let said = try await AgentProcess.run(node, ["check"])
        #expect(said.status == 0)
        #expect(
            said.output.contains("others may write \(app); chmod go-w \(app)"), "\(said.output)")
    }

    @Test func aCoordinatorsWordsDoNotReachTheTerminalRaw() {
        var report = report(trouble: "x\u{1B}]0;owned\u{7}\r\nALARM forged")
        report.status.breakGlass = "y\u{9B}z"
        #expect(report.text.contains("x�]0;owned�  ALARM forged"))
        #expect(report.text.contains("y�z"))
    }

    @Test func releasesOfOneNameAreToldApart() {
        func release(_ name: String, _ byte: UInt8) -> ReleaseReference {
            ReleaseReference(
                name: ReleaseName(unchecked: name),
                manifest: Digest(bytes: [UInt8](repeating: byte, count: 32)))
        }
        var report = report()
        report.status.staged = [release("v1", 1), release("v2", 2), release("v2", 3)]
        #expect(report.text.contains("staged       v1, v2 (020202020202), v2 (030303030303)"))
    }

    @Test func aPersonSeesSinceWhenTheGateIsClosedAndHowTheLastTimeWent() {
        var report = report(at: Instant(milliseconds: 60_000))
        #expect(!report.text.contains("closed"))
        report.status.gate.writes = .hold
        report.status.gate.closedAt = Instant(milliseconds: 50_000)
        #expect(report.text.contains("closed 10s ago"))
        report.status.gate.writes = .open
        report.status.gate.openedAt = Instant(milliseconds: 50_250)
        #expect(report.text.contains("was closed for 250ms, until 9s ago: no write waited"))
        report.status.gate.writesReleased = 7
        report.status.gate.longestWait = .milliseconds(180)
        #expect(report.text.contains("7 waited at its end and went through, the longest 180ms"))
    }

    private func report(at now: Instant = Instant(milliseconds: 0), trouble: String? = nil)
        -> LocalReport
    {
        LocalReport(
            node: nil, coordinator: "http://c", now: now, lastAnswer: nil, trouble: trouble,
            run: nil,
            status: NodeStatus(
                epoch: .zero, revision: 0, boot: "b", sequence: 0, agentVersion: "0",
                gate: GateObservation(), lease: .open, staged: [], staging: nil, active: nil,
                service: .in, tasks: [], health: nil, failures: [], diskFree: 0),
            alarms: [])
    }
}
