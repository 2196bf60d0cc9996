// SPDX-License-Identifier: Apache-2.0

import Glibc

public struct SpawnError: Error, CustomStringConvertible {
    public var description: String
}

/// Starts a program with a pipe as its standard input, which closes when this process ends. It has a process group of its own: a
/// signal to the group of the tests, as `timeout` sends one, would end the program before it has cleared up.
///
/// - Returns: the process and the writing end of the pipe.
func spawnWithLeash(_ arguments: [String], output: String) throws -> (pid: pid_t, leash: Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw SpawnError(description: "no pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let pid = try spawn(arguments, input: ends[0], output: output, ownGroup: true)
    close(ends[0])
    return (pid, ends[1])
}

/// A program that is fed through its standard input.
public final class RunningProgram {
    private let pid: pid_t
    private let input: Int32

    public init(_ arguments: [String]) throws {
        (pid, input) = try spawnWithLeash(arguments, output: "/dev/null")
    }

    public func write(_ text: String) {
        // A program that has ended takes nothing more; that is not this process's end.
        signal(SIGPIPE, SIG_IGN)
        _ = Array(text.utf8).withUnsafeBytes { Glibc.write(input, $0.baseAddress, $0.count) }
    }

    /// Closes the input, waits for the end, and gives back the status.
    public func finish() -> Int32 {
        close(input)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return status
    }
}

/// Runs a program to its end and gives back what it wrote to standard output; fails when it fails.
@discardableResult
public func run(_ arguments: [String]) throws -> String {
    var template = Array("/tmp/sluice-run-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    guard descriptor >= 0 else { throw SpawnError(description: "no temporary file") }
    let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer {
        close(descriptor)
        unlink(path)
    }
    let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
    defer { close(null) }
    let pid = try spawn(arguments, input: null, output: path)
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count <= 0 { break }
        text.append(contentsOf: buffer[..<count])
    }
    let output = String(decoding: text, as: UTF8.self)
    guard status == 0 else {
        throw SpawnError(
            description: "\(arguments.joined(separator: " ")): status \(status)\n\(output)")
    }
    return output
}

private func spawn(
    _ arguments: [String], input: Int32, output: String, ownGroup: Bool = false
) throws -> pid_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    if ownGroup {
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var pid: pid_t = 0
    let pointers = arguments.map { strdup($0) } + [nil]
    defer { pointers.forEach { free($0) } }
    let failure = posix_spawnp(&pid, arguments[0], &actions, &attributes, pointers, environ)
    guard failure == 0 else {
        throw SpawnError(
            description: "cannot start \(arguments[0]): \(String(cString: strerror(failure)))")
    }
    return pid
}
