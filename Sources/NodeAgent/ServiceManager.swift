// SPDX-License-Identifier: Apache-2.0

import Files
import Glibc

/// Whoever started the agent, when it wants to hear that the gate is up: systemd with `Type=notify`.
enum ServiceManager {
    /// Says `READY=1` on the datagram socket in `NOTIFY_SOCKET` (sd_notify(3)). Best effort: without one there is nobody to tell.
    static func tellReady() {
        guard let name = getenv("NOTIFY_SOCKET") else { return }
        let path = String(cString: name)
        // An abstract name is written with `@`.
        let address =
            path.hasPrefix("@")
            ? UnixAddress(abstract: String(path.dropFirst())) : UnixAddress(path)
        guard let address else { return }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let message = Array("READY=1".utf8)
        _ = address.withPointer {
            sendto(descriptor, message, message.count, Int32(MSG_NOSIGNAL), $0, $1)
        }
    }
}
