// SPDX-License-Identifier: Apache-2.0

import Files

/// How many connections a unix socket's server has in hand, waiting to be accepted or accepted.
///
/// The proxy opens one for each request that it passes on and closes it with the answer. The kernel lists them in
/// `/proc/net/unix` under the path of the listening socket: state 02 in its queue, 03 accepted (proc_net_unix(5)).
///
/// - Returns: `nil` when the kernel does not say.
func connectionsInHand(of socket: String) -> Int? {
    guard let table = try? readTextFile("/proc/net/unix", atMost: 16 << 20) else {
        return nil
    }
    var count = 0
    for line in table.utf8.split(separator: 10).dropFirst() {
        let columns = line.split(separator: 32, maxSplits: 7, omittingEmptySubsequences: true)
        guard columns.count == 8, columns[7].elementsEqual(socket.utf8) else { continue }
        if columns[5].elementsEqual("02".utf8) || columns[5].elementsEqual("03".utf8) { count += 1 }
    }
    return count
}
