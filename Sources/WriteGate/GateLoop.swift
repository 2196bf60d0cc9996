// SPDX-License-Identifier: Apache-2.0

import CEpoll
import Dispatch
import Glibc
import SteadyClock
import UpgradeModel

/// The gate's thread: sleeps until a question, a completion, a command or a deadline comes, and interprets ``Admission``.
///
/// Everything in it belongs to that one thread; others speak through the ``Mailbox``.
final class GateLoop {
    private let configuration: GateConfiguration
    private let mailbox: Mailbox
    private let onChange: @Sendable (GateSnapshot) -> Void
    private let poll: Descriptor
    private let listeners: [Listener]
    private let completions: Descriptor
    private let probes: ProbeBook
    private let servers: ServerBook
    private var admission: Admission
    private var connections: [Int32: Connection] = [:]
    private var asking: [Ticket: Connection] = [:]
    /// Connections by the time at which they are looked at; one that has been active since then queues again.
    private var idle = KeyedQueue<Ticket, Instant>()
    /// Connections of which a part of a request has arrived.
    private var partial = KeyedQueue<Ticket, Instant>()
    private var spare = SpareConnections()
    /// Given up for a moment when there are no descriptors left, so that one who knocks can be turned away.
    private var reserve = GateLoop.reserveDescriptor()
    private var heardWorkers = HeardWorkers()
    private var lastSerial: UInt64 = 0
    private var isRunning = true
    private var notifier = Notifier()

    init(
        _ configuration: GateConfiguration, admission: Admission, mailbox: Mailbox,
        listeners: [Listener], completions: Descriptor, probes: ProbeBook, servers: ServerBook,
        onChange: @escaping @Sendable (GateSnapshot) -> Void
    ) throws(GateError) {
        self.configuration = configuration
        self.admission = admission
        self.mailbox = mailbox
        self.listeners = listeners
        self.completions = completions
        self.probes = probes
        self.servers = servers
        self.onChange = onChange
        let number = sluice_epoll_create()
        guard number >= 0 else {
            throw GateError(
                .socket, "cannot make an epoll set: \(errorText())",
                advice: "raise the limit of open files")
        }
        poll = Descriptor(number)
        for descriptor in listeners.map(\.descriptor) + [completions, mailbox.wakeUp] {
            guard watch(descriptor.number, serial: 0) else {
                throw GateError(
                    .socket, "cannot watch a socket: \(errorText())",
                    advice: "raise the limit of open files")
            }
        }
    }

    func run() {
        var ready = [sluice_epoll_ready](repeating: sluice_epoll_ready(), count: 256)
        while isRunning {
            let count = Int(sluice_epoll_wait(poll.number, &ready, Int32(ready.count), timeout()))
            if count < 0 {
                precondition(errno == EINTR, "epoll_wait failed: \(errorText())")
                continue
            }
            // Completions first: a client that has gone is known to be gone before the gate opens for it.
            receiveCompletions()
            for one in ready.prefix(count) { handle(one.key, isGone: one.gone != 0) }
            expire()
            deliver(admission.proceed(at: SteadyClock.sinceBoot))
            mailbox.publish(admission.counts)
            notify()
        }
        finish()
    }

    private func handle(_ key: UInt64, isGone: Bool) {
        let number = Int32(truncatingIfNeeded: key & 0xffff_ffff)
        if number == completions.number { return }
        if number == mailbox.wakeUp.number { return mailbox.receive().forEach(perform) }
        if let listener = listeners.first(where: { $0.descriptor.number == number }) {
            return accept(from: listener)
        }
        // A descriptor may have been closed and given out again within one batch of events.
        guard let connection = connections[number], connection.serial == UInt64(key >> 32) else {
            return
        }
        if isGone { close(connection) } else { receive(connection) }
    }

    private func perform(_ command: Mailbox.Command) {
        switch command {
        case .set(let setting, let done):
            deliver(admission.set(setting, at: SteadyClock.sinceBoot))
            mailbox.publish(admission.counts)
            done.signal()
        case .setPace(let perSecond): admission.setPace(perSecond)
        case .stop: isRunning = false
        }
    }

    private func finish() {
        for command in mailbox.close() {
            if case .set(_, let done) = command { done.signal() }
        }
        connections = [:]
    }
}

// MARK: Connections

extension GateLoop {
    /// A socket on which the gate is asked.
    struct Listener {
        var descriptor: Descriptor
        var door: GateQuestion.Door
    }

    /// A connection of the proxy: one question at a time.
    private final class Connection {
        let descriptor: Descriptor
        let serial: UInt64
        let door: GateQuestion.Door
        /// Who connected, as the kernel says; 0 when it does not.
        let process: Int32
        var ticket: Ticket { Ticket(number: serial) }
        var buffer: [UInt8] = []
        /// The question that has not been answered yet.
        var held: AdmissionRequest?
        var keepsAlive = true
        var lastActive: Instant

        init(
            _ descriptor: Descriptor, serial: UInt64, door: GateQuestion.Door, process: Int32,
            now: Instant
        ) {
            self.descriptor = descriptor
            self.serial = serial
            self.door = door
            self.process = process
            lastActive = now
        }
    }

    private func accept(from listener: Listener) {
        // Bounded, so that a flood of connections does not keep the rest waiting; epoll reports again.
        for _ in 0..<64 {
            let number = sluice_accept(listener.descriptor.number)
            guard number >= 0 else { return refuseWhenOutOfDescriptors(listener) }
            let descriptor = Descriptor(number)
            let process = listener.door == .proxy ? sluice_peer_process(number) : 0
            guard listener.door == .proxy || spare.count(of: 0) < 256 else { continue }
            if connections.count >= configuration.connectionsAtMost {
                guard giveUpSpare() else { continue }
            }
            lastSerial = lastSerial % 0xffff_fffe + 1
            guard asking[Ticket(number: lastSerial)] == nil, watch(number, serial: lastSerial)
            else { continue }
            let now = SteadyClock.sinceBoot
            let connection = Connection(
                descriptor, serial: lastSerial, door: listener.door, process: process, now: now)
            connections[number] = connection
            asking[connection.ticket] = connection
            spare.insert(connection.ticket, of: process)
            idle.append(connection.ticket, now + configuration.idleTimeout)
        }
    }

    /// Without a free descriptor, accepting fails for as long as somebody knocks: a connection on which nothing is asked is
    /// given up, or the one who knocks is turned away, which the proxy takes for an absent agent. A question that waits is
    /// never given up.
    private func refuseWhenOutOfDescriptors(_ listener: Listener) {
        guard errno == EMFILE || errno == ENFILE, !giveUpSpare() else { return }
        reserve = nil
        let number = sluice_accept(listener.descriptor.number)
        if number >= 0 { Glibc.close(number) }
        reserve = Self.reserveDescriptor()
    }

    private static func reserveDescriptor() -> Descriptor? {
        let number = open("/dev/null", O_RDONLY | O_CLOEXEC)
        return number >= 0 ? Descriptor(number) : nil
    }

    /// Closes a connection on which nothing is asked, of the process that has most of them.
    private func giveUpSpare() -> Bool {
        guard let ticket = spare.first, let connection = asking[ticket] else { return false }
        close(connection)
        return true
    }

    private func receive(_ connection: Connection) {
        // Bytes behind a question that is not answered yet: neither a body nor a pipeline is spoken here.
        guard connection.held == nil else { return close(connection) }
        var chunk = [UInt8](repeating: 0, count: 4096)
        let room = min(chunk.count, GateConfiguration.requestBytesAtMost - connection.buffer.count)
        let count = recv(connection.descriptor.number, &chunk, room, 0)
        guard count > 0 else {
            if count == 0 || (errno != EAGAIN && errno != EINTR) { close(connection) }
            return
        }
        connection.buffer += chunk[..<count]
        connection.lastActive = SteadyClock.sinceBoot
        do {
            if let question = try GateQuestion.read(
                connection.buffer, from: connection.door, routes: configuration.routes)
            {
                connection.buffer.removeAll(keepingCapacity: true)
                partial.remove(connection.ticket)
                answer(question, on: connection)
            } else if partial[connection.ticket] == nil {
                partial.append(
                    connection.ticket, connection.lastActive + configuration.requestTimeout)
            }
        } catch {
            let status = error == .notForEverybody ? "403 Forbidden" : "400 Bad Request"
            answer(
                Array(
                    "HTTP/1.1 \(status)\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".utf8),
                on: connection, keepAlive: false)
        }
    }

    private func answer(_ question: GateQuestion, on connection: Connection) {
        let isKept = question.keepAlive
        switch question.kind {
        case .admission(let request): ask(connection, request, keepAlive: isKept)
        case .refusal(let refusal, let form, let proof):
            answer(
                refusal.response(in: form, keepAlive: isKept, proof: proof), on: connection,
                keepAlive: isKept)
        case .mode:
            let mode = ModeFile(admission.setting).encoded
            answer(jsonResponse(mode, keepAlive: isKept), on: connection, keepAlive: isKept)
        case .status:
            let status = admission.counts.json
            answer(jsonResponse(status, keepAlive: isKept), on: connection, keepAlive: isKept)
        }
    }

    private func ask(_ connection: Connection, _ request: AdmissionRequest, keepAlive: Bool) {
        if let marks = request.sessionMarks { servers.noteSessionMarks(marks) }
        if let nonce = request.probe, !request.kind.isWrite, probes.isPass(nonce) {
            let pass = Answer.admit.response(
                to: request, keepAlive: keepAlive, isReadOnly: !admission.setting.writes.isOpen)
            answer(pass, on: connection, keepAlive: keepAlive)
            return
        }
        if let nonce = request.probe, let proof = probes.answer(nonce) {
            let reason: Refusal.Reason =
                admission.setting.writes.isOpen ? .probeOpen : .probeClosed
            let refusal = Refusal(reason, retryAfter: .seconds(1))
            answer(
                request.convention == .authRequest
                    ? refusal.authRequestResponse(keepAlive: keepAlive, proof: proof)
                    : refusal.response(in: request.form, keepAlive: keepAlive, proof: proof),
                on: connection, keepAlive: keepAlive)
            return
        }
        connection.held = request
        connection.keepsAlive = keepAlive
        spare.remove(connection.ticket, of: connection.process)
        let asked = Asked(
            ticket: connection.ticket, kind: request.kind, request: request.request,
            process: connection.process)
        if let answer = admission.ask(asked, at: connection.lastActive) {
            deliver([(connection.ticket, answer)])
        }
    }

    private func deliver(_ replies: [Admission.Reply]) {
        // Whoever has an answer finds it counted.
        if !replies.isEmpty { mailbox.publish(admission.counts) }
        for (index, reply) in replies.enumerated() {
            // A long release makes the proxy report many completions; its queue for them is short.
            if index % 8 == 7 { receiveCompletions() }
            guard let connection = asking[reply.ticket], let request = connection.held else {
                continue
            }
            connection.held = nil
            connection.lastActive = SteadyClock.sinceBoot
            spare.insert(connection.ticket, of: connection.process)
            let isDelivered = answer(
                reply.answer.response(
                    to: request, keepAlive: connection.keepsAlive,
                    isReadOnly: !admission.setting.writes.isOpen,
                    isPriming: request.worker.map { !heardWorkers.contains($0) } ?? false),
                on: connection, keepAlive: connection.keepsAlive)
            if !isDelivered, reply.answer == .admit, let identifier = request.request {
                admission.undeliverable(identifier)
            }
        }
    }

    /// - Returns: false when the peer has gone; the connection is closed then.
    @discardableResult
    private func answer(_ bytes: [UInt8], on connection: Connection, keepAlive: Bool) -> Bool {
        let isDelivered = send(bytes, on: connection)
        if !isDelivered || !keepAlive { close(connection) }
        return isDelivered
    }

    /// Answers fit a socket's buffer; a peer that lets it fill up is gone for us.
    private func send(_ bytes: [UInt8], on connection: Connection) -> Bool {
        Glibc.send(connection.descriptor.number, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            == bytes.count
    }

    private func close(_ connection: Connection) {
        if connection.held != nil { admission.withdraw(connection.ticket) }
        connections[connection.descriptor.number] = nil
        asking[connection.ticket] = nil
        idle.remove(connection.ticket)
        partial.remove(connection.ticket)
        spare.remove(connection.ticket, of: connection.process)
    }

    private func watch(_ number: Int32, serial: UInt64) -> Bool {
        let key = serial << 32 | UInt64(UInt32(bitPattern: number))
        return sluice_epoll_watch(poll.number, number, key) == 0
    }
}

// MARK: Completions and time

extension GateLoop {
    private func receiveCompletions() {
        var buffer = [UInt8](repeating: 0, count: CompletionRecord.bytesAtMost + 1)
        // Bounded, like everything that another process can make endless.
        for _ in 0..<4096 {
            var process: Int32 = 0
            let count = Int(
                sluice_receive_from(completions.number, &buffer, buffer.count, &process))
            guard count > 0 else {
                if count == 0 { continue }
                return
            }
            guard let record = CompletionRecord(buffer[..<count]) else { continue }
            heardWorkers.insert(record.worker)
            if let nonce = record.nonce, probes.end(nonce, record.passage) { continue }
            if let server = record.server, record.completed != nil,
                record.passage != ProxyPassage.none
            {
                servers.note(server)
            }
            if let ticket = admission.complete(record, by: process, at: SteadyClock.sinceBoot),
                let connection = asking[ticket]
            {
                connection.held = nil
                close(connection)
            }
        }
    }

    private func expire() {
        let now = SteadyClock.sinceBoot
        deliver(admission.expire(at: now))
        while let (ticket, deadline) = partial.first, deadline <= now {
            partial.remove(ticket)
            if let connection = asking[ticket] { close(connection) }
        }
        while let (ticket, deadline) = idle.first, deadline <= now {
            idle.remove(ticket)
            guard let connection = asking[ticket] else { continue }
            let start = connection.held == nil ? connection.lastActive : now
            let due = start + configuration.idleTimeout
            if due <= now { close(connection) } else { idle.append(ticket, due) }
        }
    }

    /// Milliseconds until there is something to do without anybody asking; -1 for never.
    private func timeout() -> Int32 {
        let deadlines = [
            admission.nextDeadline, idle.first?.value, partial.first?.value, notifier.deadline,
        ]
        guard let next = deadlines.compactMap({ $0 }).min() else { return -1 }
        return Int32(clamping: max(0, (next - SteadyClock.sinceBoot).milliseconds))
    }

    private func notify() {
        let now = SteadyClock.sinceBoot
        let counts = admission.counts
        if notifier.isDue(counts, at: now) { onChange(counts.snapshot(at: now)) }
    }
}
