// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A program that the test started and that it alone signals, by its recorded process identifier.
///
/// It inherits neither the output of the tests, which would not end before it does, nor the signals that a thread of Swift's pool blocks.
public final class ChildProcess: Sendable {
    public let identifier: Int32
    private let ended = Mutex<Int32?>(nil)

    /// - Parameters:
    ///   - output: the file to which standard error goes, and standard output unless it has a descriptor.
    ///   - standardInput: a descriptor to read from; otherwise there is nothing to read.
    ///   - environment: all of it; this process's own by default.
    ///   - directory: where it works; where this process does by default.
    public init(
        _ arguments: [String], output: String = "/dev/null", standardInput: Int32? = nil,
        standardOutput: Int32? = nil, environment: [String: String]? = nil,
        directory: String? = nil
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        if let standardInput { posix_spawn_file_actions_adddup2(&actions, standardInput, 0) }
        if let standardOutput { posix_spawn_file_actions_adddup2(&actions, standardOutput, 1) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let place = directory.map { ["/usr/bin/env", "--chdir", $0] } ?? []
        let words = (place + arguments).map { strdup($0) } + [nil]
        let settings =
            (environment ?? ProcessInfo.processInfo.environment)
            .map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for word in words + settings { free(word) } }
        var identifier: pid_t = 0
        let result = posix_spawnp(
            &identifier, (place + arguments)[0], &actions, &attributes, words, settings)
        guard result == 0 else {
            throw TestSupportFailure(
                "cannot start \(arguments[0]): \(String(cString: strerror(result)))")
        }
        self.identifier = identifier
        Running.shared.insert(identifier)
    }

    deinit { end(SIGKILL) }

    public func signal(_ number: Int32) {
        ended.withLock { if $0 == nil { kill(identifier, number) } }
    }

    /// Signals and waits for the end.
    public func end(_ number: Int32) {
        ended.withLock { ended in
            if ended == nil { kill(identifier, number) }
            ended = ended ?? reaped()
        }
    }

    /// Waits for the end.
    ///
    /// - Returns: its status as waitpid(2) gives it: 0 for success, a signal's number for one that was ended.
    @discardableResult
    public func wait() -> Int32 {
        ended.withLock { ended in
            let status = ended ?? reaped()
            ended = status
            return status
        }
    }

    private func reaped() -> Int32 {
        var status: Int32 = 0
        while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
        Running.shared.remove(identifier)
        return status
    }
}

/// The programs that are still running when the test process exits, which it does without destroying what tests hold.
private final class Running: Sendable {
    static let shared = Running()
    private let identifiers = Mutex<Set<Int32>>([])

    private init() {
        atexit { Running.shared.end() }
    }

    func insert(_ identifier: Int32) { identifiers.withLock { _ = $0.insert(identifier) } }
    func remove(_ identifier: Int32) { identifiers.withLock { _ = $0.remove(identifier) } }

    private func end() {
        for identifier in identifiers.withLock({ $0 }) { kill(identifier, SIGTERM) }
    }
}
