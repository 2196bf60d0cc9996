// SPDX-License-Identifier: Apache-2.0

/// What a request does. The proxy says so, or ``GateRoutes`` decides.
enum RequestKind: String, Sendable {
    case read
    /// A read by somebody who has a session, which many frameworks write to on each page view.
    case sessionRead = "session"
    case write
    /// Lives for as long as its client likes, such as a WebSocket: admitted as a write is, and never waited for as one.
    case stream
    /// A gRPC call: a write, until it has lasted so long that it has to be a stream.
    case call

    var isWrite: Bool { self == .write || self == .stream || self == .call }
}

/// One of the gate's queues.
enum Lane: CaseIterable, Sendable {
    case reads, sessions, writes
}
