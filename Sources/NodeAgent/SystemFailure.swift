// SPDX-License-Identifier: Apache-2.0

import Files
import Glibc

/// A system call that failed, in words.
struct SystemFailure: Error, CustomStringConvertible {
    var message: String
    var description: String { message }

    init(_ message: String) { self.message = message }

    /// Adds what the last call said: `cannot open /x: Permission denied`.
    ///
    /// The number is taken before the words are made, because making them may call the system again.
    init(errno what: @autoclosure () -> String) {
        let number = errno
        message = "cannot \(what()): \(systemReason(number))"
    }

    init(_ failure: FileFailure) { message = failure.description }
}

/// Does something with files; a failure is in the agent's words.
@discardableResult
func onFiles<Value>(_ body: () throws(FileFailure) -> Value) throws(SystemFailure) -> Value {
    do throws(FileFailure) { return try body() } catch { throw SystemFailure(error) }
}
