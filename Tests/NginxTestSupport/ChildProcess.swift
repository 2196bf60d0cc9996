// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestSupport

/// A program that the test started and that it alone signals, by its recorded process identifier.
public final class ChildProcess: Sendable {
    public let identifier: Int32
    private let isReaped = Mutex(false)

    /// - Parameters:
    ///   - output: the file to which standard error goes, and standard output unless it has a descriptor.
    ///   - standardInput: a descriptor to read from; otherwise there is nothing to read.
    public init(
        _ arguments: [String], output: String, standardInput: Int32? = nil,
        standardOutput: Int32? = nil
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        if let standardInput { posix_spawn_file_actions_adddup2(&actions, standardInput, 0) }
        if let standardOutput { posix_spawn_file_actions_adddup2(&actions, standardOutput, 1) }
        var identifier: pid_t = 0
        let words = arguments.map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        let result = posix_spawnp(&identifier, arguments[0], &actions, nil, words, environ)
        guard result == 0 else {
            throw TestSupportFailure(
                "cannot start \(arguments[0]): \(String(cString: strerror(result)))")
        }
        self.identifier = identifier
        Running.shared.insert(identifier)
    }

    deinit { end(SIGKILL) }

    public func signal(_ number: Int32) {
        isReaped.withLock { if !$0 { kill(identifier, number) } }
    }

    /// Signals and waits for the end.
    public func end(_ number: Int32) {
        isReaped.withLock { isReaped in
            guard !isReaped else { return }
            isReaped = true
            Running.shared.remove(identifier)
            kill(identifier, number)
            var status: Int32 = 0
            while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
        }
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
