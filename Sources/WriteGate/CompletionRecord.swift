// SPDX-License-Identifier: Apache-2.0

/// One syslog datagram of the proxy's `access_log`, format `sluice` of the snippet.
///
/// `<190>Nov 22 18:04:05 nginx: sluice1 done 3f…e1 4711`: the request and the worker process. The header differs between
/// proxies and is skipped; no field is under a client's control.
struct CompletionRecord: Hashable, Sendable {
    /// The request that has ended, with whatever status; `nil` for a datagram that says nothing but that the worker's
    /// datagrams arrive.
    var completed: RequestIdentifier?
    var worker: ProxyWorker

    static let bytesAtMost = 512

    /// - Returns: `nil` for anything that is not of that format.
    init?(_ datagram: some Collection<UInt8>) {
        guard datagram.count <= Self.bytesAtMost else { return nil }
        let words = datagram.split(separator: UInt8(ascii: " "))
        guard let marker = words.lastIndex(where: { $0.elementsEqual("sluice1".utf8) }),
            words.count == marker + 4, let request = RequestIdentifier(words[marker + 2]),
            let worker = ProxyWorker(words[marker + 3])
        else { return nil }
        self.worker = worker
        let leg = words[marker + 1]
        if leg.elementsEqual("done".utf8) {
            completed = request
        } else if !leg.elementsEqual("asked".utf8) {
            return nil
        }
    }
}

/// A worker process of the proxy (`$pid`).
struct ProxyWorker: Hashable, Sendable {
    var process: UInt32

    init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count <= 10, let process = UInt32(String(decoding: bytes, as: UTF8.self)) else {
            return nil
        }
        self.process = process
    }
}

/// The workers whose datagrams are known to arrive at this gate.
///
/// A worker that has sent to an agent before keeps a socket connected to it; its next datagram fails and only the one after
/// that is sent on a new socket. A worker that has not been heard is therefore asked, with the admission, for a datagram
/// ahead of the completion.
struct HeardWorkers: Sendable {
    private var workers: Set<ProxyWorker> = []
    private static let atMost = 1024

    func contains(_ worker: ProxyWorker) -> Bool { workers.contains(worker) }

    mutating func insert(_ worker: ProxyWorker) {
        // Reloads make new workers. Forgetting costs each of them one datagram.
        if workers.count >= Self.atMost { workers.removeAll() }
        workers.insert(worker)
    }
}
