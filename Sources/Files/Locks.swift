// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Takes the lock of an open file (flock(2)) for this process alone. The kernel lets go when the last descriptor is closed, however the
/// process ends.
///
/// A child of the process that held it before, between its fork and its exec, may have the lock for a moment after that process is
/// gone. So whoever expects it to be free has some patience; blocks for as long.
///
/// - Returns: whether it was taken; `false` also when the file system has no locks.
public func lockFile(_ descriptor: Int32, patience: Duration = .seconds(1)) -> Bool {
    let end = ContinuousClock.now + patience
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
        guard errno == EWOULDBLOCK || errno == EINTR, ContinuousClock.now < end else {
            return false
        }
        usleep(10_000)
    }
    return true
}
