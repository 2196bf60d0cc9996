// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A loopback address that no other test of this or another process uses, so that a fixed port is free on it.
public func privateLoopbackAddress() -> String {
    let number = lastLoopback.next()
    let process = Int(getpid())
    return "127.\(64 + number % 128).\((process >> 8) & 255).\(process & 254 | 1)"
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
