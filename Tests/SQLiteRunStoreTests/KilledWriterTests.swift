// SPDX-License-Identifier: Apache-2.0

import Glibc
import RunStore
import SQLiteRunStore
import Testing
import TestSupport
import UpgradeModel

@Suite struct KilledWriterTests {
    @Test
    func hasLostNothingThatWasAcknowledgedAndTheNextOneLeadsAtOnce() async throws {
        let directory = try TemporaryDirectory()
        var acknowledged: Int64 = 0
        for round in 1...6 {
            var writer = try StoreWriter(directory: directory.path)
            #expect(try writer.nextLine() == "epoch \(round)")
            let stop = acknowledged + Int64(round * 7)
            while acknowledged < stop { acknowledged = try #require(Int64(try writer.nextLine())) }
            // What it says between here and its end was acknowledged as well.
            for line in try writer.kill() { acknowledged = try #require(Int64(line)) }
        }
        let store = try await SQLiteRunStore(directory: directory.path)
        let events = try await store.events(of: run1, after: 0, limit: 10_000)
        #expect(Int64(events.count) >= acknowledged)
        #expect(events.map(\.text) == (1...events.count).map { "event \($0)" })
        let lease = FileLeaderLease(directory: directory.path, store: store)
        #expect(try await lease.acquire(holder: "next") == Epoch(rawValue: 7))
    }

    @Test
    func thatLivesStillKeepsASecondProcessFromTheLead() async throws {
        let directory = try TemporaryDirectory()
        var writer = try StoreWriter(directory: directory.path)
        #expect(try writer.nextLine() == "epoch 1")
        _ = try writer.nextLine()
        let store = try await SQLiteRunStore(directory: directory.path, examine: .none)
        let lease = FileLeaderLease(directory: directory.path, store: store)
        await #expect(throws: StoreFailure.leaderHeld(by: "writer, process \(writer.process)")) {
            try await lease.acquire(holder: "second")
        }
        _ = try writer.kill()
        #expect(try await lease.acquire(holder: "second") == Epoch(rawValue: 2))
    }
}

/// The program of Tests/StoreWriter, in a process of its own.
private struct StoreWriter: ~Copyable {
    let process: pid_t
    private let output: Int32
    private var buffer: [UInt8] = []
    private var isAlive = true

    init(directory: String) throws {
        var ends: [Int32] = [0, 0]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        try #require(socketpair(AF_UNIX, type, 0, &ends) == 0)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        let program = try Self.program()
        let arguments: [UnsafeMutablePointer<CChar>?] = [strdup(program), strdup(directory), nil]
        var process: pid_t = 0
        let status = posix_spawn(&process, program, &actions, nil, arguments, environ)
        for argument in arguments { free(argument) }
        posix_spawn_file_actions_destroy(&actions)
        Glibc.close(ends[1])
        try #require(status == 0, "\(program) does not start")
        self.process = process
        output = ends[0]
    }

    deinit {
        if isAlive {
            Glibc.kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
        Glibc.close(output)
    }

    /// The next line; the empty text at the end.
    mutating func nextLine() throws -> String {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                let line = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeFirst(end + 1)
                return line
            }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = read(output, &bytes, bytes.count)
            guard count > 0 else { return "" }
            buffer += bytes[..<count]
        }
    }

    /// Kills it and returns the lines that it had said.
    mutating func kill() throws -> [String] {
        try #require(Glibc.kill(process, SIGKILL) == 0)
        try #require(waitpid(process, nil, 0) == process)
        isAlive = false
        var lines: [String] = []
        while case let line = try nextLine(), !line.isEmpty { lines.append(line) }
        return lines
    }

    /// Built beside the tests.
    private static func program() throws -> String {
        guard let maps = fopen("/proc/self/maps", "r") else { return "" }
        defer { fclose(maps) }
        var line = [CChar](repeating: 0, count: 8192)
        while fgets(&line, Int32(line.count), maps) != nil {
            let text = String(
                decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            guard let start = text.firstIndex(of: "/") else { continue }
            let path = text[start...].prefix { $0 != "\n" }
            guard let name = path.lastIndex(of: "/"), path.hasSuffix(".xctest") else { continue }
            return "\(path[..<name])/StoreWriter"
        }
        return "StoreWriter"
    }
}
