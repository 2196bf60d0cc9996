// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A loopback address that no other test of this or another process uses, so that a fixed port is free on it.
public func privateLoopbackAddress() -> String {
    let number = lastLoopback.next()
    let process = Int(getpid())
    // 2,048 of one process: a pass of the tests takes hundreds, and an address that came again was that of a proxy which still ran.
    let third = (number / 128 % 16) << 4 | (process >> 8) & 15
    return "127.\(64 + number % 128).\(third).\(process & 254 | 1)"
}

private let lastLoopback = Counter()

private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var value = 0
    func next() -> Int {
        lock.withLock {
            value += 1
            return value
        }
    }
}
