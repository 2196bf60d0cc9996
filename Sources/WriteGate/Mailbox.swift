// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import SteadyClock
import Synchronization

/// How other threads speak to the gate's thread: a list of commands, and a pair of sockets that wakes it.
final class Mailbox: Sendable {
    enum Command: Sendable {
        /// Make the setting decide, answer those it concerns, then signal.
        case set(GateSetting, done: DispatchSemaphore)
        /// How many of those who wait may be let go in a second.
        case setPace(Int?)
        case stop
    }

    private struct State {
        var commands: [Command] = []
        var counts: Admission.Counts
        var isClosed = false
    }

    /// Readable when there are commands.
    let wakeUp: Descriptor
    private let wakeWriter: Descriptor
    private let state: Mutex<State>

    init(_ counts: Admission.Counts) throws(GateError) {
        (wakeUp, wakeWriter) = try Sockets.pair()
        state = Mutex(State(counts: counts))
    }

    /// - Returns: false when the gate's thread has ended and nobody will read the command.
    func send(_ command: Command) -> Bool {
        let accepted = state.withLock { state in
            guard !state.isClosed else { return false }
            state.commands.append(command)
            return true
        }
        // A full socket wakes as well as one more byte would.
        if accepted { write(wakeWriter.number, [1], 1) }
        return accepted
    }

    func receive() -> [Command] {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(wakeUp.number, &bytes, bytes.count) == bytes.count {}
        return state.withLock { state in
            defer { state.commands = [] }
            return state.commands
        }
    }

    /// The gate's thread ends: what is left is handed back, and nothing more is accepted.
    func close() -> [Command] {
        state.withLock { state in
            state.isClosed = true
            defer { state.commands = [] }
            return state.commands
        }
    }

    func publish(_ counts: Admission.Counts) { state.withLock { $0.counts = counts } }

    var snapshot: GateSnapshot {
        state.withLock { $0.counts }.snapshot(at: SteadyClock.sinceBoot)
    }
}
