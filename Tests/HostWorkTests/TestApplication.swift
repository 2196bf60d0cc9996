// SPDX-License-Identifier: Apache-2.0

import Foundation
import HostWork
import TestSupport

/// A release's application as it really is: processes, threads, forks, and connections that write.
final class TestApplication {
    let directory: TemporaryDirectory
    let footprint: ReleaseFootprint
    private var process: ChildProcess?

    private let mode: String
    /// What it is started with.
    var environment: [String: String] = [:]
    /// Its working directory.
    var place = "/"
    /// By which path its program is started; a copy of it lies in the release.
    var script = TestApplication.program
    /// The path that the interpreter is called by.
    var interpreter = "/usr/bin/python3"
    /// Started by the name of its module, which its environment has to lead to.
    var isModule = false
    /// As in tmux: the release's directory, and a terminal.
    var hasTerminal = false

    /// - Parameter mode: any of `workers`, `threads`, `forks`, `nginx` (what it calls itself).
    init(_ name: String, mode: String) throws {
        self.mode = mode
        directory = try TemporaryDirectory()
        let release = "\(directory.path)/releases/\(name).123456789abc"
        try directory.write(
            try String(contentsOfFile: TestApplication.program, encoding: .utf8),
            to: "releases/\(name).123456789abc/files/app.py")
        footprint = ReleaseFootprint(
            identifier: "\(name).\(directory.path.suffix(6))", directory: release,
            socket: "\(directory.path)/\(name).sock")
    }

    private static let program = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("release_application.py").path

    func start() async throws {
        var words = [interpreter] + (isModule ? ["-m", "app"] : [script])
        words += [footprint.socket, directory.path, mode]
        if hasTerminal {
            let command = words.map { "'\($0)'" }.joined(separator: " ")
            words = [
                "/usr/bin/script", "-qec",
                "cd '\(footprint.directory)/files' && exec \(command)", "/dev/null",
            ]
        }
        process = try ChildProcess(
            words, environment: environment.merging(["PATH": "/usr/bin:/bin"]) { $1 },
            directory: place)
        guard await eventually({ connect() != nil }) else {
            throw TestSupportFailure("the application does not listen")
        }
    }

    /// A connection on which each byte is a write.
    func connect() -> Connection? { Connection(to: footprint.socket) }

    /// How much it has written.
    var written: Int { directory.read("written")?.utf8.count ?? 0 }

    var number: Int32 { process?.identifier ?? 0 }

    /// Whether something writes within a tenth of a second.
    func writes() async -> Bool {
        let before = written
        return await eventually(within: .milliseconds(100)) { written > before }
    }

    final class Connection {
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

        func send() -> Bool { Glibc.send(descriptor, "w", 1, Int32(MSG_NOSIGNAL)) == 1 }

        /// - Returns: whether an answer comes within the limit.
        func isAnswered(within milliseconds: Int32) -> Bool {
            var question = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&question, 1, milliseconds) == 1 else { return false }
            var byte: UInt8 = 0
            return recv(descriptor, &byte, 1, 0) == 1
        }
    }
}
