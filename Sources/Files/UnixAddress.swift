// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// The address of a unix socket: a path, or an abstract name after a zero byte (unix(7)).
public struct UnixAddress: Sendable {
    /// How many bytes a path may have; the zero byte at its end is the 108th.
    public static let longestPath = 107

    private var address: sockaddr_un
    private var length: socklen_t

    /// - Returns: `nil` when the path is empty, too long, or has a zero byte.
    public init?(_ path: String) {
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count <= UnixAddress.longestPath, !bytes.contains(0) else {
            return nil
        }
        self.init(bytes: bytes, length: MemoryLayout<sockaddr_un>.size)
    }

    /// An abstract name, without the zero byte before it.
    public init?(abstract name: String) {
        let bytes = [0] + Array(name.utf8)
        guard bytes.count > 1, bytes.count <= UnixAddress.longestPath else { return nil }
        // An abstract name has no end of its own; the length of the address is it.
        self.init(bytes: bytes, length: MemoryLayout<sa_family_t>.size + bytes.count)
    }

    private init(bytes: [UInt8], length: Int) {
        address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        self.length = socklen_t(length)
        // SAFETY: the callers have checked that the bytes are fewer than the field has, which is all zeros before.
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    }

    /// For bind(2), connect(2) and sendto(2).
    ///
    /// SAFETY: the pointer is valid during the call of `body`, and the length is not more than what it points to.
    public func withPointer<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var address = address
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}
