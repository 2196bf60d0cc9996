// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import NodeEngine
import Releases
import TestSupport
import Testing
import UpgradeModel

@testable import NodeAgent

/// The old release runs twice on a node: on its usual database, and beside itself on the standby. Real processes, real connections.
@Suite(.serialized, .timeLimit(.minutes(5))) struct StandbyReleaseTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    /// Detaches, as actions have to; listens, answers each connection after a byte, and writes which one it is all the time.
    private let program = """
        import os, socket, sys, threading, time
        os.fork() and os._exit(0)
        null = os.open("/dev/null", os.O_RDWR)
        [os.dup2(null, number) for number in range(3)]
        root, path = sys.argv[1:3]
        database = os.environ.get("SLUICE_DATABASE", "usual")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(16)
        def serve():
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()
        def answer(connection):
            connection.recv(1)
            connection.sendall(database.encode())
            connection.close()
        threading.Thread(target=serve, daemon=True).start()
        while True:
            with open(f"{root}/wrote-{database}", "a") as file:
                file.write(f"{os.environ['SLUICE_RELEASE']} {os.getpid()} {os.environ['SLUICE_GENERATION']}\\n")
            time.sleep(0.005)
        """

    private func node() async throws -> (TestNode, ReleaseReference) {
        let node = try TestNode(
            coordinator,
            extra: """
                actions:
                  start:
                    command: [/usr/bin/setsid, /usr/bin/python3, ROOT/program.py, ROOT, "{socket}"]
                  note:
                    command: [/usr/bin/python3, -c, 'import os; open("ROOT/marks", "a").write(os.environ.get("SLUICE_DATABASE", "usual") + " " + os.environ["SLUICE_RELEASE_DIR"] + "\\n")']
                """)
        try write(program, to: node.root + "/program.py", mode: 0o644)
        return (node, try await node.adopt("v1", files: ["a": "1", "deep/b": "2"]))
    }

    private func goal(_ release: ReleaseReference, _ identity: String) -> ActivationGoal {
        ActivationGoal(release: release, identity: ActivationIdentity(unchecked: identity))
    }

    private func lines(_ node: TestNode, _ database: String) -> [String] {
        node.lines("wrote-\(database)")
    }

    private func untilItWrites(_ node: TestNode, _ database: String) async throws {
        let before = lines(node, database).count
        try await until("it writes on the \(database)") { lines(node, database).count > before }
    }

    private func writes(_ node: TestNode, _ database: String) async throws -> Bool {
        let before = lines(node, database).count
        for _ in 0..<20 {
            try await Task.sleep(for: .milliseconds(10))
            if lines(node, database).count > before { return true }
        }
        return false
    }

    @Test func aNodeGoesOverToItAndNeitherTouchesTheProcessesOfTheOther() async throws {
        let (node, v1) = try await node()
        let reader = v1.on(.standby)
        let run = RunIdentifier(unchecked: "run-1")
        try await node.withAgent {
            // The old release as it runs today.
            coordinator.say(directive(1) { $0.tasks = [task("start.0", "start", release: v1)] })
            _ = try await coordinator.status {
                $0.revision == 1 && $0.tasks.first?.state == .done
                    && $0.has(.servesFromStandby)
            }
            try await untilItWrites(node, "usual")

            // Staged and started beside itself.
            let staging = directive(2) {
                $0.run = run
                $0.stage = reader
                $0.tasks = [
                    task("note.1", "note", release: reader),
                    task("start.1", "start", release: reader),
                ]
            }
            coordinator.say(staging)
            let warm = try await coordinator.status {
                $0.revision == 2 && $0.tasks.count == 2 && $0.tasks.last?.state == .done
            }
            #expect(Set(warm.staged) == [v1, reader] && warm.active?.release == v1)
            try await untilItWrites(node, "standby")
            #expect(lines(node, "standby").last?.hasPrefix("v1 ") == true)
            #expect(lines(node, "standby").last?.hasSuffix(" 1") == true, "the same generation")
            #expect(
                node.lines() == [
                    "standby \(node.root)/app/releases/\(reader.identifier)/files"
                ])

            // A request that the old one has in hand when the node goes over.
            let request = try #require(Connection(to: "\(node.root)/sockets/\(v1.identifier).sock"))
            var reading = staging
            reading.revision = 3
            reading.writes = holding
            reading.lease = Lease(duration: .minutes(5), onExpiry: .keep)
            reading.active = goal(reader, "reads")
            reading.vacated = v1
            coordinator.say(reading)
            let served = try await coordinator.status { $0.vacated?.requests == 1 }
            #expect(served.active?.release == reader && served.vacated?.isVacant == false)
            #expect(served.active?.cacheGeneration.rawValue == 1)
            #expect(request.answer() == "usual")
            _ = try await coordinator.status {
                $0.active?.release == reader && $0.vacated?.release == v1
                    && $0.vacated?.isVacant == true
            }
            let through = try #require(Connection(to: "\(node.root)/app/current/app.sock"))
            #expect(through.answer() == "standby")

            // The old one may write no more, and the other goes on.
            var silent = reading
            silent.revision = 4
            silent.silenced = v1
            coordinator.say(silent)
            _ = try await coordinator.status {
                $0.revision == 4 && $0.silenced?.state == .silent && $0.silenced?.frozen == 1
            }
            #expect(try await !writes(node, "usual"))
            #expect(try await writes(node, "standby"))

            // Back, and the other one is ended.
            var back = silent
            back.revision = 5
            back.silenced = nil
            back.vacated = reader
            back.active = goal(v1, "back")
            coordinator.say(back)
            _ = try await coordinator.status {
                $0.revision == 5 && $0.active?.release == v1 && $0.vacated?.isVacant == true
                    && $0.silenced?.state == .idle
            }
            try await untilItWrites(node, "usual")
            var over = back
            over.revision = 6
            over.writes = .open
            over.vacated = nil
            over.silenced = reader
            over.stage = nil
            over.tasks = []
            over.unstage = reader
            coordinator.say(over)
            let ended = try await coordinator.status {
                $0.revision == 6 && $0.silenced?.state == .silent && $0.staged == [v1]
            }
            #expect(ended.active?.release == v1)
            #expect(try await !writes(node, "standby"))
            #expect(try await writes(node, "usual"), "the other is not touched")

            // So that the test leaves nothing running.
            coordinator.say(directive(7) { $0.stage = nil })
            _ = try await coordinator.status { $0.revision == 7 && $0.silenced?.state == .idle }
        }
        for line in Set(lines(node, "usual").map { $0.split(separator: " ")[1] }) {
            if let number = pid_t(line) { kill(number, SIGKILL) }
        }
    }

    /// As on the way back by promotion, on a node whose turn for the new release had not come.
    @Test func aNodeThatServesItFlipsToItOnceMoreWithTheNextReleasePrepared() async throws {
        let (node, v1) = try await node()
        let reader = v1.on(.standby)
        let v2 = try node.publish("v2", files: ["a": "2"])
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            _ = try await coordinator.status { $0.staged.contains(v2) }
            coordinator.say(directive(2) { $0.stage = reader })
            _ = try await coordinator.status { $0.staged.contains(reader) }
            for (revision, identity) in [(Int64(3), "reads"), (4, "back")] {
                coordinator.say(directive(revision) { $0.active = goal(reader, identity) })
                let status = try await coordinator.status {
                    $0.active?.identity?.rawValue == identity || !$0.failures.isEmpty
                }
                #expect(status.failures == [], "\(identity)")
                #expect(status.active?.release == reader)
            }
        }
    }

    /// A node that has been taken over by nobody cannot run its release twice.
    @Test func aReleaseThatTheNodeDoesNotHaveIsRefusedWithWhatToDo() async throws {
        let (node, _) = try await node()
        let strange = try node.publish("v9", files: ["a": "9"]).on(.standby)
        try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = strange })
            let status = try await coordinator.status { !$0.failures.isEmpty }
            #expect(status.failures.first?.goal == .stage)
            #expect(status.failures.first?.message.contains("sluice-agent adopt") == true)
        }
    }
}

/// A connection that sends its request when the test says so.
private final class Connection {
    private let descriptor: Int32

    init?(to path: String) {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { return nil }
    }

    deinit { close(descriptor) }

    func answer() -> String {
        guard send(descriptor, "?", 1, Int32(MSG_NOSIGNAL)) == 1 else { return "" }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_WAITALL))
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
