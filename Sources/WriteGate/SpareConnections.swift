// SPDX-License-Identifier: Apache-2.0

/// The connections on which nothing is asked, by the process that made them.
///
/// When there are too many, one of the process that has most goes first: a flood displaces itself, and not the few that a
/// proxy keeps for its next questions.
struct SpareConnections {
    private var ofProcess: [Int32: KeyedQueue<Ticket, Bool>] = [:]

    /// The one to give up next.
    var first: Ticket? {
        ofProcess.values.max { $0.count < $1.count }?.first?.key
    }

    func count(of process: Int32) -> Int { ofProcess[process]?.count ?? 0 }

    mutating func insert(_ ticket: Ticket, of process: Int32) {
        ofProcess[process, default: KeyedQueue()].append(ticket, true)
    }

    mutating func remove(_ ticket: Ticket, of process: Int32) {
        guard ofProcess[process]?.remove(ticket) != nil else { return }
        if ofProcess[process]?.isEmpty == true { ofProcess[process] = nil }
    }
}
