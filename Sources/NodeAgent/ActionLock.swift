// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Held for as long as an action's own process lives, whatever becomes of the agent.
///
/// It is an empty file, locked (flock(2)) and given to the process as its standard input: the kernel keeps the lock until the last
/// process that has it open is gone. Whatever detaches has another standard input by convention, so a daemon holds it not.
struct ActionLock: ~Copyable {
    let descriptor: Int32

    /// - Returns: `nil` when a process of the same task still has it.
    init?(file: String) {
        descriptor = open(file, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Ends every process whose standard input is the file. Only such are children of an agent for this task.
    static func killHolders(of file: String) {
        for process in processes() {
            var target = [CChar](repeating: 0, count: 4096)
            let length = readlink("/proc/\(process)/fd/0", &target, target.count - 1)
            guard length > 0 else { continue }
            let bytes = target[..<length].map { UInt8(bitPattern: $0) }
            if bytes.elementsEqual(file.utf8) { kill(process, SIGKILL) }
        }
    }

    private static func processes() -> [pid_t] {
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        var found: [pid_t] = []
        while let entry = readdir(directory) {
            // SAFETY: the kernel ends each name within the field with a zero byte; the bytes are copied out of it.
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let number = pid_t(name), number > 1, number != getpid() { found.append(number) }
        }
        return found
    }
}
