// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Synchronization
import TestSupport

/// The program of Tests/GateHolder in a process of its own, to be killed.
final class GateProcess: Sendable {
    let greeting: String
    private let process: ChildProcess
    private let commands: FileHandle
    private let answers: Answers

    var identifier: Int32 { process.identifier }

    init(runtime: String, log: String) throws {
        var input: [Int32] = [0, 0]
        var output: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Self.type, 0, &input) == 0,
            socketpair(AF_UNIX, Self.type, 0, &output) == 0
        else { throw TestSupportFailure("socketpair: \(errno)") }
        process = try ChildProcess(
            [Self.program, runtime], output: log, standardInput: input[0],
            standardOutput: output[0])
        close(input[0])
        close(output[0])
        commands = FileHandle(fileDescriptor: input[1], closeOnDealloc: true)
        answers = Answers(output[1])
        greeting = try answers.next()
    }

    /// Sends a command and waits until it is in force.
    func say(_ command: String) throws -> String {
        try commands.write(contentsOf: Data("\(command)\n".utf8))
        return try answers.next()
    }

    func signal(_ number: Int32) { process.signal(number) }
    func kill() { process.end(SIGKILL) }

    private static let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)

    /// Beside the test bundle, where the package manager puts every program.
    private static var program: String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let candidates = CommandLine.arguments + [own]
        for path in candidates {
            let directory = (path as NSString).deletingLastPathComponent
            let program = directory + "/GateHolder"
            if FileManager.default.isExecutableFile(atPath: program) { return program }
        }
        return "GateHolder"
    }
}

/// Lines from a descriptor.
private final class Answers: Sendable {
    private let descriptor: Int32
    private let buffer = Mutex<[UInt8]>([])

    init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { close(descriptor) }

    func next() throws -> String {
        try buffer.withLock { buffer in
            while true {
                if let end = buffer.firstIndex(of: 10) {
                    defer { buffer.removeSubrange(...end) }
                    return String(decoding: buffer[..<end], as: UTF8.self)
                }
                var chunk = [UInt8](repeating: 0, count: 1024)
                let count = read(descriptor, &chunk, chunk.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw TestSupportFailure("the gate's process has ended") }
                buffer += chunk[..<count]
            }
        }
    }
}
