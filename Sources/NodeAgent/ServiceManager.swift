// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Whoever started the agent, when it wants to hear that the gate is up: systemd with `Type=notify`.
enum ServiceManager {
    /// Says `READY=1` on the datagram socket in `NOTIFY_SOCKET` (sd_notify(3)). Best effort: without one there is nobody to tell.
    static func tellReady() {
        guard let name = getenv("NOTIFY_SOCKET") else { return }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var path = Array(String(cString: name).utf8)
        guard !path.isEmpty, path.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return
        }
        // An abstract name is written with `@`, begins with a zero byte, and ends where the length of the address says.
        if path[0] == UInt8(ascii: "@") { path[0] = 0 }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let message = Array("READY=1".utf8)
        // SAFETY: the bytes have been checked to fit; the pointers to the address and the message live as long as the call,
        // and the lengths are no longer than what they point to.
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        _ = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, message, message.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }
}
