// SPDX-License-Identifier: Apache-2.0

/// One syslog datagram of the proxy's `access_log`, format `sluice` of the snippet.
///
/// `<190>Nov 22 18:04:05 nginx: sluice1 done 3f…e1 200`. The header differs between proxies and is skipped; no field is
/// under a client's control.
enum CompletionRecord: Hashable, Sendable {
    /// The request has ended, with whatever status.
    case completed(RequestIdentifier)
    /// The admission subrequest has ended. It says nothing, and comes first so that it is the one that gets lost when the
    /// proxy still holds the socket of an agent that has been restarted.
    case asked

    static let bytesAtMost = 512

    /// - Returns: `nil` for anything that is not of that format.
    init?(_ datagram: some Collection<UInt8>) {
        guard datagram.count <= Self.bytesAtMost else { return nil }
        let words = datagram.split(separator: UInt8(ascii: " "))
        guard let marker = words.lastIndex(where: { $0.elementsEqual("sluice1".utf8) }),
            words.count >= marker + 3
        else { return nil }
        let leg = words[marker + 1]
        if leg.elementsEqual("asked".utf8) {
            self = .asked
        } else if leg.elementsEqual("done".utf8), let request = RequestIdentifier(words[marker + 2]) {
            self = .completed(request)
        } else {
            return nil
        }
    }
}
