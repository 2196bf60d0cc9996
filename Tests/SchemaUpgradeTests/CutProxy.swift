// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import TestSupport

/// A relay on loopback between a client and PostgreSQL that loses the answer to one request, and the session with it.
///
/// The server has done what was asked by then, and the client cannot know: so a task can be cut after each of its requests,
/// every COMMIT among them. It knows enough of PostgreSQL's protocol ("Message Formats") to see where a request and its answer
/// end.
final class CutProxy: Sendable {
    private struct State {
        /// How many more requests are answered; `nil` when all are.
        var answered: Int?
        var isCut = false
        var refusesAfterCut = false
        var ignoresNewcomers = false
        /// How many more newcomers are told that the server starts up.
        var starts = 0
    }

    var port: UInt16 { listener.port }
    private let listener: ListeningSocket
    private let server: UInt16
    private let state = Mutex(State())
    /// The first digits of the version that the server is said to have.
    private let version: String?
    /// The last part of the address on 127.0.0.0/8 that it connects from.
    private let host: UInt8

    init(server: Int, version: String? = nil, from host: UInt8 = 1) throws {
        self.host = host
        listener = try ListeningSocket()
        self.version = version
        self.server = UInt16(server)
        listener.start { [weak self] client, _ in self?.serve(client) }
    }

    /// Ends the listening; sessions end with their client.
    func stop() { listener.stop() }

    deinit { listener.stop() }

    /// The answer after so many more is lost; then there is no server any more, if the proxy is told so.
    func cut(afterAnswers answered: Int, thenRefuse: Bool) {
        state.withLock { $0 = State(answered: answered, refusesAfterCut: thenRefuse) }
    }

    /// Lets everything through again.
    ///
    /// - Returns: whether there was a cut.
    func mend() -> Bool {
        state.withLock { state in
            defer { state = State() }
            return state.isCut
        }
    }

    /// Takes new connections and says nothing to them, as in a partition.
    func ignoreNewcomers() { state.withLock { $0.ignoresNewcomers = true } }

    /// Tells so many newcomers what a server says that replays its log.
    func start(refusing newcomers: Int) { state.withLock { $0.starts = newcomers } }
    /// How many are left.
    var startsLeft: Int { state.withLock { $0.starts } }

    private func serve(_ client: Int32) {
        if refuses(client) { return }
        if state.withLock({ $0.ignoresNewcomers }) {
            var descriptor = pollfd(fd: client, events: Int16(POLLHUP), revents: 0)
            poll(&descriptor, 1, -1)
            return
        }
        if state.withLock({ $0.isCut && $0.refusesAfterCut }) { return }
        let upstream = connect(to: server, from: host)
        guard upstream >= 0 else { return }
        defer { close(upstream) }
        var requests = Frames(hasUntypedStart: true)
        var answers = Frames(hasUntypedStart: false)
        var losesAnswer = false
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            var descriptors = [
                pollfd(fd: client, events: Int16(POLLIN), revents: 0),
                pollfd(fd: upstream, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&descriptors, 2, -1) > 0 else { return }
            if descriptors[0].revents != 0 {
                let count = read(client, &buffer, buffer.count)
                guard count > 0 else { return }
                // A query, or the end of one with parameters.
                for type in requests.take(buffer[..<count]) where "QS".utf8.contains(type) {
                    losesAnswer = state.withLock { state in
                        guard let answered = state.answered else { return false }
                        state.answered = answered > 0 ? answered - 1 : nil
                        state.isCut = answered == 0
                        return state.isCut
                    }
                }
                guard send(upstream, buffer[..<count]) else { return }
            }
            if descriptors[1].revents != 0 {
                let count = read(upstream, &buffer, buffer.count)
                guard count > 0 else { return }
                if let version { disguise(&buffer, count, as: version) }
                let isReady = answers.take(buffer[..<count]).contains(UInt8(ascii: "Z"))
                if losesAnswer {
                    if isReady { return }
                } else {
                    guard send(client, buffer[..<count]) else { return }
                }
            }
        }
    }
}

extension CutProxy {
    /// Whether a newcomer was told that the server starts up, in the server's own words.
    private func refuses(_ client: Int32) -> Bool {
        let isStarting = state.withLock { state in
            defer { state.starts = max(0, state.starts - 1) }
            return state.starts > 0
        }
        guard isStarting else { return false }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        guard read(client, &buffer, buffer.count) > 0 else { return true }
        let fields = [
            "SFATAL", "VFATAL", "C57P03", "Mthe database system is starting up",
            "Fpostmaster.c", "L1", "RProcessStartupPacket", "",
        ]
        let body: [UInt8] = fields.flatMap { field -> [UInt8] in field.utf8 + [0] }
        let length = UInt8(body.count + 4)
        _ = send(client, ([UInt8(ascii: "E"), 0, 0, 0, length] + body)[...])
        return true
    }
}

/// Replaces the first digits of the server's version, where the bytes have it.
private func disguise(_ bytes: inout [UInt8], _ count: Int, as version: String) {
    let name = Array("server_version\0".utf8)
    guard count > name.count + 2,
        let place = (0..<count - name.count - 2).first(where: {
            bytes[$0..<$0 + name.count].elementsEqual(name)
        })
    else { return }
    for (offset, byte) in version.utf8.enumerated() { bytes[place + name.count + offset] = byte }
}

/// Finds the messages in a stream of bytes.
private struct Frames {
    private var rest: [UInt8] = []
    private var expectsUntyped: Bool

    init(hasUntypedStart: Bool) { expectsUntyped = hasUntypedStart }

    /// The types of the messages that these bytes complete.
    mutating func take(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        rest += bytes
        var types: [UInt8] = []
        while true {
            let head = expectsUntyped ? 0 : 1
            guard rest.count >= head + 4 else { return types }
            let length = rest[head..<head + 4].reduce(0) { $0 << 8 | Int($1) }
            guard rest.count >= head + length else { return types }
            if !expectsUntyped { types.append(rest[0]) }
            expectsUntyped = false
            rest.removeFirst(head + length)
        }
    }
}

private func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    address.sin_port = port.bigEndian
    return address
}

private func withAddress(
    _ address: inout sockaddr_in,
    _ body: (UnsafeMutablePointer<sockaddr>, inout socklen_t) -> Int32
) -> Int32 {
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    // SAFETY: both kinds of address begin the same, and the length says which one it is.
    return withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &length) }
    }
}

private func connect(to port: UInt16, from host: UInt8) -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    if host != 1 {
        var own = loopback(0)
        own.sin_addr.s_addr = (UInt32(0x7f00_0000) | UInt32(host)).bigEndian
        _ = withAddress(&own, { Glibc.bind(descriptor, $0, $1) })
    }
    var address = loopback(port)
    if withAddress(&address, { Glibc.connect(descriptor, $0, $1) }) == 0 { return descriptor }
    close(descriptor)
    return -1
}

private func send(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
    var bytes = Array(bytes)
    while !bytes.isEmpty {
        let sent = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        guard sent > 0 else { return false }
        bytes.removeFirst(sent)
    }
    return true
}
