// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import FoundationEssentials
import Glibc
import NodeEngine
import Releases
import Testing
import UpgradeModel

@testable import NodeAgent

/// The real program, killed and started again.
@Suite(.serialized, .timeLimit(.minutes(5))) struct KilledAgentTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private let actions = """
        actions:
          once: {command: [/bin/sh, -c, 'sleep 0.1; echo "$SLUICE_TASK" >> ROOT/marks']}
          again: {command: [/bin/sh, -c, 'echo "$SLUICE_TASK" >> ROOT/again'], repeatable: true, awaits_socket: false}
          probed:
            command: [/bin/sh, -c, 'sleep 0.1; echo "$SLUICE_TASK" >> ROOT/probed']
            probe: [/usr/bin/test, -s, ROOT/probed]
        """

    /// Killed at some instant again and again, on its way from one release to the next with its gate closed.
    @Test(arguments: 0..<6)
    func anAgentKilledAtAnyInstantConvergesAndDoesNothingTwice(round: Int) async throws {
        let node = try TestNode(coordinator, extra: actions)
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish(
            "v2", files: ["a": "2", "b": String(repeating: "b", count: 200_000)])
        let wanted = directive(1) {
            $0.writes = holding
            $0.lease = Lease(duration: .minutes(5), onExpiry: .keep)
            $0.stage = v2
            $0.tasks = [
                task("again.1", "again"), task("probed.1", "probed"), task("once.1", "once"),
            ]
            $0.active = ActivationGoal(release: v2, identity: ActivationIdentity(unchecked: "f"))
        }
        coordinator.say(wanted)
        var wasClosed = false
        for kills in 1...6 {
            let agent = try AgentProcess(node)
            let patience = Int.random(in: 5...(60 * kills))
            try await Task.sleep(for: .milliseconds(patience))
            #expect(!wasClosed || node.has("read-only"), "closed stays closed")
            agent.kill()
            wasClosed = wasClosed || node.has("read-only")
            #expect(!wasClosed || node.has("read-only"), "closed stays closed")
        }
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        let boot = Set(coordinator.statuses.map(\.boot))
        let status = try await coordinator.status { status in
            !boot.contains(status.boot) && status.tasks.allSatisfy { $0.state != .running }
                && (status.tasks.contains { $0.state != .done }
                    || status.active?.identity?.rawValue == "f")
        }
        // Nothing that may happen only once has happened twice, and nothing is called done that has not happened.
        #expect(node.lines("marks").count <= 1)
        #expect(node.lines("probed").count <= 1)
        let states = Dictionary(
            uniqueKeysWithValues: status.tasks.map { ($0.identity.rawValue, $0.state) })
        if states["once.1"] == .done { #expect(node.lines("marks") == ["once.1"]) }
        if states["once.1"] == .unknown { #expect(status.active?.release.name.rawValue == "v1") }
        if states["once.1"] == .done {
            #expect(status.active?.cacheGeneration == CacheGeneration(rawValue: 2))
        }
        #expect(status.gate.writes == .hold && node.has("read-only"))
        #expect(Set(node.lines("again")) == ["again.1"])
        #expect(states["again.1"] == .done && states["probed.1"] == .done)
    }

    /// Files are read and digested on another thread meanwhile.
    @Test func anAgentThatIsToldToEndWhileItStagesEndsWell() async throws {
        let node = try TestNode(coordinator)
        let files = Dictionary(
            uniqueKeysWithValues: (0..<2000).map { ("file-\($0)", "content \($0)") })
        try await node.adopt("v1", files: files)
        let v2 = try node.publish("v2", files: files.merging(["new": "2"]) { $1 })
        coordinator.say(directive(1) { $0.stage = v2 })
        for _ in 0..<5 {
            let agent = try AgentProcess(node)
            try await until("the agent's socket") { node.has("agent.sock") }
            try await Task.sleep(for: .milliseconds(Int.random(in: 20...200)))
            #expect(try await agent.end(with: SIGTERM) == 0, "\(node.lines("agent.log"))")
        }
    }

    /// A reboot empties the runtime directory. Nobody answers who could tell the agent anew.
    @Test(arguments: [false, true])
    func afterARebootTheGateIsClosedBeforeTheProxyMayStart(isAbstract: Bool) async throws {
        let node = try TestNode(coordinator)
        let reads = HoldLimits(atMost: 5, duration: .seconds(5), retryAfter: .seconds(1))
        try node.remember([
            .accepted(
                directive(7) {
                    $0.writes = holding
                    $0.reads.hold = reads
                    $0.service = .out
                    $0.lease = Lease(duration: .minutes(5), onExpiry: .keep)
                })
        ])
        coordinator.stop()
        try FileManager.default.removeItem(atPath: node.runtime)
        let manager = try NotifySocket(
            isAbstract ? "@\(node.root)/notify" : "\(node.root)/notify")
        let agent = try AgentProcess(node, environment: ["NOTIFY_SOCKET=\(manager.name)"])
        defer { agent.kill() }
        var said: String?
        try await until("the agent is ready") {
            said = said ?? manager.receive()
            return said != nil
        }
        #expect(said == "READY=1")
        #expect(node.has("read-only") && node.has("hold-reads") && node.has("out-of-service"))
        #expect(node.has("mode.json") && node.has("gate.sock"))
        try await until("the agent's socket") { node.has("agent.sock") }
        let report = try await ask(LocalRequest(verb: .status), node)
        #expect(report.status.gate.writes == .hold && report.status.gate.readsHeld)
    }

    /// A crash loop without a coordinator, over a boot: each agent lives for less than the lease.
    @Test(arguments: [Lease.Expiry.open, .keep])
    func anAgentThatIsKilledAgainAndAgainOpensWhenTheLeaseIsOver(expiry: Lease.Expiry) async throws
    {
        let node = try TestNode(coordinator)
        try node.remember([
            .accepted(
                directive(1) {
                    $0.writes = holding
                    $0.lease = Lease(duration: .seconds(2), onExpiry: expiry)
                })
        ])
        coordinator.stop()
        try FileManager.default.removeItem(atPath: node.runtime)
        let began = ContinuousClock.now
        var starts = 0
        var isOpen = false
        while ContinuousClock.now < began + .seconds(6), !isOpen {
            let agent = try AgentProcess(node)
            try await until("the gate's socket") { node.has("gate.sock") }
            starts += 1
            if starts == 1 { #expect(node.has("read-only"), "one fresh lease after the boot") }
            try await Task.sleep(for: .milliseconds(500))
            agent.kill()
            isOpen = !node.has("read-only")
            unlink("\(node.runtime)/gate.sock")
        }
        #expect(starts > 2)
        #expect(isOpen == (expiry == .open))
        guard isOpen else { return }
        // And it stays so, at the next start too, whatever its runtime directory remembers.
        let next = try AgentProcess(node)
        defer { next.kill() }
        var report: LocalReport?
        try await until("the agent answers") {
            report = try? await ask(LocalRequest(verb: .status), node)
            return report != nil
        }
        #expect(report?.status.gate.writes == .open && !node.has("read-only"))
        #expect(
            report?.alarms.contains { $0.contains("by itself") } == true, "\(report?.alarms ?? [])")
    }

    @Test func anAgentThatCannotWriteItsJournalOpensWhenTheLeaseIsOverAndNeverCloses() async throws
    {
        let node = try TestNode(coordinator)
        try node.remember([
            .accepted(
                directive(1) {
                    $0.writes = holding
                    $0.lease = Lease(duration: .seconds(2), onExpiry: .open)
                })
        ])
        coordinator.stop()
        let first = try AgentProcess(node)
        try await until("closed") { node.has("read-only") && node.has("agent.sock") }
        // From now on every file is as long as it may be.
        try await first.limitFiles()
        try await until("open, and given up") { !node.has("read-only") && first.hasEnded }

        // After a boot, with a coordinator that wants the gate closed: nothing can be promised to it.
        try FileManager.default.removeItem(atPath: node.runtime)
        let next = try FakeCoordinator(port: coordinator.port)
        next.say(directive(2) { $0.writes = holding })
        let second = try AgentProcess(node, limitsFiles: true)
        try await until("given up") {
            #expect(!node.has("read-only"))
            return second.hasEnded
        }
        #expect(!node.has("read-only") && node.has("gate.lock"))
        #expect(next.statuses.allSatisfy { $0.gate.writes == .open && $0.revision == 1 })
    }

    @Test func anActionWhoseAgentIsKilledIsUnknownAndNotRunAgain() async throws {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  slow: {command: [/bin/sh, -c, 'echo $$ >> ROOT/pid; echo begun >> ROOT/marks; sleep 30'], timeout: 1s}
                """)
        coordinator.say(directive(1) { $0.tasks = [task("slow.1", "slow")] })
        let first = try AgentProcess(node)
        try await until("the action has begun") { node.lines() == ["begun"] }
        first.kill()
        let second = try AgentProcess(node)
        defer { second.kill() }
        let status = try await coordinator.status { $0.tasks.first?.state == .unknown }
        #expect(status.tasks[0].output.contains("the agent was restarted while this ran"))
        #expect(node.lines() == ["begun"])
        let survivor = try #require(pid_t(node.lines("pid").first ?? ""))
        #expect(!isRunning(survivor), "what outlived its agent has been ended")
    }

    @Test func toldToStopItLeavesTheGateAsItIsAndGoesAtOnce() async throws {
        let node = try TestNode(coordinator)
        coordinator.say(directive(1) { $0.writes = holding })
        let agent = try AgentProcess(node)
        _ = try await coordinator.status { $0.gate.writes == .hold }
        #expect(try await agent.end(with: SIGTERM) == 0)
        #expect(node.has("read-only") && !node.has("gate.sock") && !node.has("agent.sock"))
    }

    @Test func theCommandsSpeakWithTheRunningAgent() async throws {
        let node = try TestNode(coordinator)
        let without = try await AgentProcess.run(node, ["status"])
        #expect(without.status == 1 && without.output.contains("is the agent running?"))
        coordinator.say(directive(1) { $0.writes = holding })
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        _ = try await coordinator.status { $0.gate.writes == .hold }
        let status = try await AgentProcess.run(node, ["status"])
        #expect(status.status == 0 && status.output.contains("writes       hold, 0 in flight"))
        let opened = try await AgentProcess.run(
            node, ["break-glass", "open", "--reason", "selling"])
        #expect(opened.status == 0 && opened.output.contains("BREAK GLASS  selling ("))
        #expect(!node.has("read-only"))
        #expect(try await AgentProcess.run(node, ["break-glass", "end"]).status == 0)
        #expect(node.has("read-only"))
        let second = try await AgentProcess.run(node, ["run"])
        #expect(
            second.status == 1 && second.output.contains("another agent has "),
            "\(second)")
    }

    @Test func aNodeIsAdoptedOnceAndRepeatingChangesNothing() async throws {
        let node = try TestNode(coordinator, extra: actions)
        let bundle = try node.bundle("v1", ["a": "1", "static/x.css": "x"])
        let arguments = [
            "adopt", "--release", "v1", "--bundle", bundle.directory, "--assets", "static",
            "--action", "again",
        ]
        for _ in 0..<2 {
            let adopted = try await AgentProcess.run(node, arguments)
            #expect(
                adopted.status == 0 && adopted.output.contains("v1 is current as generation 1"),
                "\(adopted.output)")
        }
        #expect(FileManager.default.fileExists(atPath: "\(node.root)/app/assets/x.css"))
        let other = try node.bundle("v2", ["a": "2"])
        let refused = try await AgentProcess.run(
            node, ["adopt", "--release", "v2", "--bundle", other.directory])
        #expect(refused.status == 1 && refused.output.contains("serves v1 already"))
    }

    @Test func aConfigurationThatIsWrongIsSaidWithItsPlacesAndNothingStarts() async throws {
        let node = try TestNode(coordinator)
        try write("coordinatr: {}\n", to: node.configurationFile, mode: 0o600)
        for command in ["check", "run"] {
            let result = try await AgentProcess.run(node, [command])
            #expect(result.status == 1)
            #expect(result.output.contains("agent.yaml:1:1: error: `coordinatr` is not a key"))
        }
        #expect(!node.has("gate.sock"))
    }
}

/// `sluice-agent` in a process of its own.
final class AgentProcess {
    private let process: pid_t
    private var isGone = false

    /// - Parameters:
    ///   - environment: `NAME=value`, added to that of the tests.
    ///   - limitsFiles: it cannot write to any file from its start on.
    init(_ node: TestNode, environment: [String] = [], limitsFiles: Bool = false) throws {
        let limit = limitsFiles ? "ulimit -f 0; " : ""
        process = try AgentProcess.spawn(
            ["-c", "trap '' XFSZ; \(limit)exec \"$0\" \"$@\"", AgentProcess.program]
                + ["run", "--config", node.configurationFile], output: "\(node.root)/agent.log",
            environment: environment, program: "/bin/sh")
    }

    deinit { kill() }

    func kill() {
        guard !isGone else { return }
        isGone = true
        Glibc.kill(process, SIGKILL)
        waitpid(process, nil, 0)
    }

    /// Lets it write to no file any more, as a full disk would.
    func limitFiles() async throws {
        let program = try AgentProcess.spawn(
            ["--pid", "\(process)", "--fsize=0"], output: "/dev/null", program: "/usr/bin/prlimit")
        try check(try await AgentProcess.end(of: program) == 0, "prlimit")
    }

    var hasEnded: Bool {
        if !isGone { isGone = waitpid(process, nil, WNOHANG) == process }
        return isGone
    }

    /// - Returns: the exit status; `nil` when a signal ended it.
    func end(with signal: Int32) async throws -> Int32? {
        Glibc.kill(process, signal)
        let status = try await AgentProcess.end(of: process)
        isGone = true
        return status
    }

    static func run(_ node: TestNode, _ arguments: [String]) async throws -> (
        status: Int32?, output: String
    ) {
        let output = "\(node.root)/output.\(UInt32.random(in: 0 ... .max))"
        let words = arguments.prefix { !$0.hasPrefix("--") }
        let rest = arguments.dropFirst(words.count)
        let process = try spawn(
            Array(words) + ["--config", node.configurationFile] + rest, output: output)
        let status = try await end(of: process)
        return (status, try String(contentsOfFile: output, encoding: .utf8))
    }

    private static func end(of process: pid_t) async throws -> Int32? {
        var status: Int32 = 0
        try await until("the program ends", within: 60) {
            waitpid(process, &status, WNOHANG) == process
        }
        return status & 0x7f == 0 ? (status >> 8) & 0xff : nil
    }

    private static func spawn(
        _ arguments: [String], output: String, environment: [String] = [],
        program: String = AgentProcess.program
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        let words = [program] + arguments
        var pointers = words.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var process = pid_t()
        let inherited = ProcessInfo.processInfo.environment.map { "\($0.key)=\($0.value)" }
        var variables = (inherited + environment).map { strdup($0) } + [nil]
        defer { for variable in variables { free(variable) } }
        let failed = posix_spawn(&process, program, &actions, nil, &pointers, &variables)
        guard failed == 0 else {
            throw TestFailure(
                description: "cannot run \(program): \(String(cString: strerror(failed)))")
        }
        return process
    }

    /// Beside the bundle of the tests, where the build puts it.
    private static var program: String {
        let arguments = CommandLine.arguments
        var path = arguments[0]
        if let index = arguments.firstIndex(of: "--test-bundle-path"), index + 1 < arguments.count {
            path = arguments[index + 1]
        }
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        return "\(folder)/sluice-agent"
    }
}

/// What a service manager listens on.
private final class NotifySocket {
    let name: String
    private let descriptor: Int32

    /// - Parameter name: a path, or `@` and the name of an abstract socket.
    init(_ name: String) throws {
        self.name = name
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = name.utf8.map { $0 == UInt8(ascii: "@") ? 0 : $0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let socket = descriptor
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, size) }
        }
        try check(bound == 0, "bind \(name)")
    }

    deinit { close(descriptor) }

    /// What has come, without waiting.
    func receive() -> String? {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return count >= 0 ? String(decoding: bytes.prefix(count), as: UTF8.self) : nil
    }
}
