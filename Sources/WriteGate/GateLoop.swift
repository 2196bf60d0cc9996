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
    private let listeners: [Descriptor]
    private let completions: Descriptor
    private var admission: Admission
    private var connections: [Int32: Connection] = [:]
    private var asking: [Ticket: Connection] = [:]
    /// Connections by the time at which they are looked at; one that has been active since then queues again.
    private var idle = Line<Ticket, Instant>()
    /// Connections of which a part of a request has arrived.
    private var partial = Line<Ticket, Instant>()
    private var heard = HeardWorkers()
    private var lastSerial: UInt64 = 0
    private var isRunning = true
    private var awaitingDrain: [@Sendable (GateSnapshot) -> Void] = []
    private var notifier = Notifier()

    init(
        _ configuration: GateConfiguration, admission: Admission, mailbox: Mailbox,
        listeners: [Descriptor],
        completions: Descriptor, onChange: @escaping @Sendable (GateSnapshot) -> Void
    ) throws(GateError) {
        self.configuration = configuration
        self.admission = admission
        self.mailbox = mailbox
        self.listeners = listeners
        self.completions = completions
        self.onChange = onChange
        let number = sluice_epoll_create()
        guard number >= 0 else {
            throw GateError(
                .socket, "cannot make an epoll set: \(errorText())",
                advice: "raise the limit of open files")
        }
        poll = Descriptor(number)
        for descriptor in listeners + [completions, mailbox.wakeUp] {
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
            mailbox.publish(admission.counts)
            notify()
        }
        finish()
    }

    private func handle(_ key: UInt64, isGone: Bool) {
        let number = Int32(truncatingIfNeeded: key & 0xffff_ffff)
        if number == completions.number { return }
        if number == mailbox.wakeUp.number { return mailbox.receive().forEach(perform) }
        if let listener = listeners.first(where: { $0.number == number }) {
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
        case .whenDrained(let action): awaitingDrain.append(action)
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
    /// A connection of the proxy: one question at a time.
    private final class Connection {
        let descriptor: Descriptor
        let serial: UInt64
        var ticket: Ticket { Ticket(number: serial) }
        var buffer: [UInt8] = []
        /// The question that has not been answered yet.
        var held: AdmissionRequest?
        var lastActive: Instant

        init(_ descriptor: Descriptor, serial: UInt64, now: Instant) {
            self.descriptor = descriptor
            self.serial = serial
            lastActive = now
        }
    }

    private func accept(from listener: Descriptor) {
        // Bounded, so that a flood of connections does not keep the rest waiting; epoll reports again.
        for _ in 0..<64 {
            let number = sluice_accept(listener.number)
            guard number >= 0 else { return refuseWhenOutOfDescriptors(listener) }
            let descriptor = Descriptor(number)
            guard connections.count < configuration.connectionsAtMost else { continue }
            lastSerial = lastSerial % 0xffff_fffe + 1
            guard asking[Ticket(number: lastSerial)] == nil, watch(number, serial: lastSerial)
            else { continue }
            let now = SteadyClock.sinceBoot
            let connection = Connection(descriptor, serial: lastSerial, now: now)
            connections[number] = connection
            asking[connection.ticket] = connection
            idle.append(connection.ticket, now + configuration.idleTimeout)
        }
    }

    /// Without a free descriptor, accepting fails for as long as somebody knocks: give one up, so that the one who knocks
    /// gets an end of file, which the proxy takes for an absent agent.
    private func refuseWhenOutOfDescriptors(_ listener: Descriptor) {
        guard errno == EMFILE || errno == ENFILE,
            let spare = connections.values.first(where: { $0.held == nil })
                ?? connections.values.first
        else { return }
        close(spare)
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
            if let request = try AdmissionRequest.read(
                connection.buffer, routes: configuration.routes)
            {
                connection.buffer.removeAll(keepingCapacity: true)
                partial.remove(connection.ticket)
                ask(connection, request)
            } else if partial[connection.ticket] == nil {
                partial.append(
                    connection.ticket, connection.lastActive + configuration.requestTimeout)
            }
        } catch {
            let response = Array(
                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".utf8)
            _ = send(response, on: connection)
            close(connection)
        }
    }

    private func ask(_ connection: Connection, _ request: AdmissionRequest) {
        connection.held = request
        let answer = admission.ask(
            connection.ticket, request.kind, request.request, at: connection.lastActive)
        if let answer { deliver([(connection.ticket, answer)]) }
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
            let response = reply.answer.response(
                request.convention, keepAlive: request.keepAlive,
                isPriming: request.worker.map { !heard.contains($0) } ?? false)
            let isDelivered = send(response, on: connection)
            if !isDelivered, reply.answer == .admit, let identifier = request.request {
                admission.undeliverable(identifier)
            }
            if !isDelivered || !request.keepAlive { close(connection) }
        }
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
            let count = recv(completions.number, &buffer, buffer.count, 0)
            guard count > 0 else {
                if count == 0 { continue }
                return
            }
            guard let record = CompletionRecord(buffer[..<count]) else { continue }
            heard.insert(record.worker)
            guard let request = record.completed else { continue }
            if let ticket = admission.complete(request), let connection = asking[ticket] {
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
        let isDrained = !counts.setting.writes.isOpen && counts.writesInFlight == 0
        if isDrained, !awaitingDrain.isEmpty {
            let actions = awaitingDrain
            awaitingDrain = []
            for action in actions { action(counts.snapshot(at: now)) }
        }
        if notifier.isDue(counts, at: now) { onChange(counts.snapshot(at: now)) }
    }
}

/// Decides when a change is worth a call: at once when the last write in flight of a closed gate ends or the setting
/// changes, and at most every 100 ms while requests come and go.
private struct Notifier {
    private static let quiet = Span.milliseconds(100)

    private struct Told: Equatable {
        var setting: GateSetting
        var isDrained: Bool
        var writesHeld: Int
        var readsHeld: Int
    }

    /// When a change that has been kept back is due.
    private(set) var deadline: Instant?
    private var told: Told?
    private var toldAt: Instant?

    mutating func isDue(_ counts: Admission.Counts, at now: Instant) -> Bool {
        let current = Told(
            setting: counts.setting,
            isDrained: !counts.setting.writes.isOpen && counts.writesInFlight == 0,
            writesHeld: counts.writesHeld, readsHeld: counts.readsHeld)
        guard current != told else {
            deadline = nil
            return false
        }
        let isUrgent = current.setting != told?.setting || current.isDrained != told?.isDrained
        if !isUrgent, let toldAt, now < toldAt + Self.quiet {
            deadline = toldAt + Self.quiet
            return false
        }
        deadline = nil
        told = current
        toldAt = now
        return true
    }
}
