// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A call of the operating system that failed on a file: which, on what, and why.
public struct FileFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The verb: `open`, `write`, `sync`.
    public var operation: String
    public var path: String
    /// The system's number, such as `ENOSPC`; 0 when the rule is ours, and `reason` says it.
    public var number: Int32
    /// The system's word for the number, or the rule that was broken.
    public var reason: String

    public init(_ operation: String, _ path: String, _ number: Int32) {
        self.operation = operation
        self.path = path
        self.number = number
        reason = systemReason(number)
    }

    public init(_ operation: String, _ path: String, reason: String) {
        self.operation = operation
        self.path = path
        number = 0
        self.reason = reason
    }

    /// Takes `errno` as the last call left it: make it before anything else is called.
    static func last(_ operation: String, _ path: String) -> FileFailure {
        FileFailure(operation, path, errno)
    }

    /// `cannot open /x: Permission denied`
    public var description: String { "cannot \(operation) \(path): \(reason)" }
}

/// The system's word for an error number: `Permission denied`.
public func systemReason(_ number: Int32) -> String { String(cString: strerror(number)) }
