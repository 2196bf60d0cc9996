// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The sockets of this machine as the kernel says them to anybody (sock_diag(7)): messages of one family, and what is in them.
enum SocketDump {
    /// Bits of socket states, as the kernel counts them.
    enum States: UInt32 {
        case established = 0x2
        case listening = 0x400
    }

    /// What is wanted of a unix socket: its name, its file, its peer, its queue.
    static let name: UInt32 = 0x1
    static let file: UInt32 = 0x2
    static let peer: UInt32 = 0x4
    static let queue: UInt32 = 0x10

    /// Asks for all sockets of a family that are in a state.
    ///
    /// - Returns: whether the kernel has answered to the end.
    static func all(
        _ family: Int32, in state: States, wanting parts: UInt32,
        _ body: (ArraySlice<UInt8>) -> Void
    ) -> Bool {
        let descriptor = socket(
            AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 4 /* NETLINK_SOCK_DIAG */)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience,
            socklen_t(MemoryLayout<timeval>.size))
        let request = request(family, state, parts)
        guard send(descriptor, request, request.count, 0) == request.count else { return false }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(descriptor, &bytes, bytes.count, 0)
            guard count > 0 else { return false }
            var rest = bytes[..<count]
            while rest.count >= 16 {
                let length = Int(number(rest, 0))
                guard length >= 16, length <= rest.count else { return false }
                switch rest[rest.startIndex + 4] {
                case 2, 3: return rest[rest.startIndex + 4] == 3  // NLMSG_ERROR, NLMSG_DONE
                default: body(rest.dropFirst(16).prefix(length - 16))
                }
                rest = rest.dropFirst((length + 3) & ~3)
            }
        }
    }

    private static func request(_ family: Int32, _ state: States, _ parts: UInt32) -> [UInt8] {
        var body: [UInt8]
        if family == AF_UNIX {
            // unix_diag_req
            body = [UInt8(family), 0, 0, 0] + bytes(state.rawValue)
            body += bytes(0) + bytes(parts) + bytes(0) + bytes(0)
        } else {
            // inet_diag_req_v2, of any address.
            body = [UInt8(family), UInt8(IPPROTO_TCP), 0, 0] + bytes(state.rawValue)
            body += [UInt8](repeating: 0, count: 48)
        }
        // nlmsghdr: SOCK_DIAG_BY_FAMILY; a request for all.
        return bytes(UInt32(16 + body.count)) + half(20) + half(0x301) + bytes(1) + bytes(0) + body
    }

    /// The attributes of a message about a unix socket, by their kinds.
    static func attributes(of message: ArraySlice<UInt8>) -> [(kind: Int, value: ArraySlice<UInt8>)]
    {
        var found: [(kind: Int, value: ArraySlice<UInt8>)] = []
        var rest = message.dropFirst(16)
        while rest.count >= 4 {
            let (length, kind) = halves(number(rest, 0))
            guard length >= 4, length <= rest.count else { break }
            found.append((kind, rest.dropFirst(4).prefix(length - 4)))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return found
    }

    // MARK: - Numbers in the machine's order

    static func number(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt32 {
        let four = bytes.dropFirst(offset).prefix(4)
        guard four.count == 4 else { return 0 }
        return UInt32(littleEndian: four.reversed().reduce(0) { $0 << 8 | UInt32($1) })
    }

    /// The two halves of what is four bytes, in the order in memory.
    static func halves(_ number: UInt32) -> (Int, Int) {
        let low = Int(number & 0xffff)
        let high = Int(number >> 16)
        return UInt32(littleEndian: 1) == 1 ? (low, high) : (high, low)
    }

    private static func bytes(_ number: UInt32) -> [UInt8] {
        let number = number.littleEndian
        return (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func half(_ number: UInt16) -> [UInt8] {
        let number = number.littleEndian
        return [UInt8(truncatingIfNeeded: number), UInt8(truncatingIfNeeded: number >> 8)]
    }
}
