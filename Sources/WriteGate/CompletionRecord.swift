// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// One syslog datagram of the proxy, as the snippets make it: nginx's `access_log`, HAProxy's `log-format-sd`.
///
/// `<190>Nov 22 18:04:05 nginx: sluice1 done 3f…e1 4711 201 asked 0.004 - http,HTTP/1.1,,10.0.0.7,80,shop.example,_`: the request,
/// the worker process, the status, whether the gate was asked, the seconds that the application took, the nonce of a probe, and the
/// server. The header differs between proxies and is skipped. HAProxy has its words between `[sluice1` and `]`, ahead of those that the
/// site logs, counts milliseconds, and has the status -1 for a client that has left. Nonce and host are a client's words, and the proxy
/// lets no others through than those of their form.
struct CompletionRecord: Hashable, Sendable {
    /// The request that has ended, with whatever status; `nil` for a datagram that says nothing but that the worker's
    /// datagrams arrive.
    var completed: RequestIdentifier?
    var worker: ProxyWorker
    /// The application did not take it, or failed: a status of 500 or more.
    var hasFailed = false
    /// How long the application took; `nil` when the request did not get there, or was tried more than once.
    var took: Span?
    /// Whether it got to the application, and past whom.
    var passage: ProxyPassage?
    /// The nonce of a probe, if it is one.
    var nonce: String?
    /// Where the proxy took it.
    var server: ProxyServer?

    /// The application has seen a write that neither the gate nor the flags were asked about.
    var hasPassedUnasked: Bool { completed != nil && passage == .unasked }

    static let bytesAtMost = 1024
    /// How many fields there are behind the marker: those of the first snippets, with status and passage, with nonce and server.
    private static let counts = [4, 7, 9]

    /// - Returns: `nil` for anything that is not of that format.
    init?(_ datagram: some Collection<UInt8>) {
        guard datagram.count <= Self.bytesAtMost else { return nil }
        let words = Self.words(of: datagram)
        guard Self.counts.contains(words.count),
            let request = RequestIdentifier(words[2]), let worker = ProxyWorker(words[3])
        else { return nil }
        self.worker = worker
        let leg = words[1]
        if leg.elementsEqual("done".utf8) {
            completed = request
        } else if !leg.elementsEqual("asked".utf8) {
            return nil
        }
        guard words.count >= 7 else { return }
        guard let status = Int16(String(decoding: words[4], as: UTF8.self)), status >= -1 else {
            return nil
        }
        hasFailed = status >= 500
        took = milliseconds(words[6])
        passage = ProxyPassage(rawValue: String(decoding: words[5], as: UTF8.self))
        guard words.count == 9 else { return }
        let nonce = String(decoding: words[7], as: UTF8.self)
        self.nonce = nonce == "-" ? nil : nonce
        server = ProxyServer(String(decoding: words[8], as: UTF8.self))
    }
}

extension CompletionRecord {
    /// The words of the snippet, the marker first; none when there is no marker.
    private static func words<Datagram: Collection<UInt8>>(of datagram: Datagram)
        -> [Datagram.SubSequence]
    {
        let all = datagram.split(separator: UInt8(ascii: " "))
        // The first one: what a client says stands behind it.
        if let start = all.firstIndex(where: { $0.elementsEqual("[sluice1".utf8) }) {
            return Array(all[start...].prefix { !$0.elementsEqual("]".utf8) })
        }
        let start = all.lastIndex { $0.elementsEqual("sluice1".utf8) }
        return start.map { Array(all[$0...]) } ?? []
    }
}

/// Reads `0.004`, as nginx writes seconds, and `4`, as HAProxy writes milliseconds.
private func milliseconds(_ seconds: some Collection<UInt8>) -> Span? {
    if !seconds.contains(UInt8(ascii: ".")) {
        let whole = UInt32(String(decoding: seconds, as: UTF8.self))
        return whole.map { .milliseconds(Int64($0)) }
    }
    let parts = seconds.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 2, parts[1].count == 3, parts[0].count <= 6,
        let whole = UInt32(String(decoding: parts[0], as: UTF8.self)),
        let rest = UInt32(String(decoding: parts[1], as: UTF8.self))
    else { return nil }
    return .milliseconds(Int64(whole) * 1000 + Int64(rest))
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
