// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A private directory, removed when the process ends: whoever no longer names it may still write to it.
public struct TemporaryDirectory: Sendable {
    private static let made = Mutex<[String]>([])

    /// Short, since unix socket paths end at 107 bytes.
    public let path: String

    public init() throws {
        var template = Array("/tmp/sluice-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestSupportFailure(errno: "mkdtemp") }
        let path = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.path = path
        // Proxy workers may run as another user.
        chmod(path, 0o755)
        let isFirst = Self.made.withLock { made in
            made.append(path)
            return made.count == 1
        }
        if isFirst { atexit { TemporaryDirectory.removeAll() } }
    }

    private static func removeAll() {
        for path in made.withLock({ $0 }) { try? FileManager.default.removeItem(atPath: path) }
    }

    @discardableResult
    public func write(_ text: String, to name: String) throws -> String {
        let target = "\(path)/\(name)"
        try FileManager.default.createDirectory(
            atPath: (target as NSString).deletingLastPathComponent,
            withIntermediateDirectories: true)
        // Closed on exec, which Foundation's own is not: a program that another test starts now would have a file of this one open.
        let descriptor = open("\(target).new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw TestSupportFailure(errno: "open") }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try file.write(contentsOf: Data(text.utf8))
        try file.close()
        guard rename("\(target).new", target) == 0 else {
            throw TestSupportFailure(errno: "rename")
        }
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

    /// What a call of the system has just said.
    public init(errno call: String) { description = "\(call): \(String(cString: strerror(errno)))" }
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
