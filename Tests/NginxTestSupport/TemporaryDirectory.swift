// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A private directory that is removed when nobody holds it any more.
public final class TemporaryDirectory: Sendable {
    /// Short, since unix socket paths end at 107 bytes.
    public let path: String

    public init() throws {
        var template = Array("/tmp/sluice-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestSupportFailure("mkdtemp: \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // Proxy workers may run as another user.
        chmod(path, 0o755)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    public func write(_ text: String, to name: String) throws -> String {
        let target = "\(path)/\(name)"
        try FileManager.default.createDirectory(
            atPath: (target as NSString).deletingLastPathComponent,
            withIntermediateDirectories: true)
        try text.write(toFile: target, atomically: true, encoding: .utf8)
        return target
    }

    public func read(_ name: String) -> String? {
        try? String(contentsOfFile: "\(path)/\(name)", encoding: .utf8)
    }

    public func exists(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(path)/\(name)")
    }
}

public struct TestSupportFailure: Error, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// Looks again and again until a condition holds; false when it does not by the deadline.
public func eventually(
    within limit: Duration = .seconds(60), _ condition: () throws -> Bool
) async rethrows -> Bool {
    let deadline = ContinuousClock.now + limit
    while true {
        if try condition() { return true }
        if ContinuousClock.now >= deadline { return false }
        try? await Task.sleep(for: .milliseconds(5))
    }
}

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
