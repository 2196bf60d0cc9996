// SPDX-License-Identifier: Apache-2.0

/// Why the gate could not be started or set.
public struct GateError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: String, Hashable, Sendable {
        /// Another process serves this runtime directory.
        case alreadyRunning = "already-running"
        /// A socket could not be made.
        case socket
        /// A flag or the mode could not be written; the gate is as it was.
        case flagNotWritten = "flag-not-written"
        /// The gate is as asked, but a flag or the mode on disk is stricter: without the agent, the proxy or the next gate
        /// would be as well. Setting the same again tries again.
        case flagNotRemoved = "flag-not-removed"
        /// The gate has been stopped.
        case stopped
    }

    public var code: Code
    /// What failed and where.
    public var message: String
    /// What to do next.
    public var advice: String

    init(_ code: Code, _ message: String, advice: String) {
        self.code = code
        self.message = message
        self.advice = advice
    }

    public var description: String { "\(message); \(advice) [\(code.rawValue)]" }
}
