// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Glibc

/// What the store, the databases and the log may need at once, beside connections.
private let reserve = 128

/// Raises the limit of open files as far as this process may.
///
/// - Returns: how many files and connections it may have open now.
func raiseLimitOfOpenFiles() -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    if limit.rlim_cur < limit.rlim_max {
        let old = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
            limit.rlim_cur = old
        }
    }
    return Int(clamping: limit.rlim_cur)
}

/// How many connections may be open, so that the next append still finds a descriptor for its journal.
func connectionLimit(files: Int) throws -> Int {
    guard files >= 2 * reserve else {
        throw complaint(
            "this process may have \(files) files open, and a coordinator needs \(2 * reserve); set LimitNOFILE=65536 in its unit, or `ulimit -n 65536`",
            3)
    }
    return min(files - reserve, Limits.connections)
}
