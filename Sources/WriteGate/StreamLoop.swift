// SPDX-License-Identifier: Apache-2.0

import CEpoll
import Glibc
import SteadyClock
import UpgradeModel

/// The thread of the streams: sleeps until somebody comes or goes or there is something to say; without streams, for ever.
final class StreamLoop {
    /// Each stream hears the newest event again once in so many ticks, 20 s: what lies between sees that it lives, and the page as well.
    private static let ticksOfABeat = 40
    /// A stream ends after about so many beats, ten minutes: a proxy that was told to end its old workers gets rid of them, and a
    /// load balancer spreads the streams anew.
    private static let beatsAtMost: UInt8 = 30
    private static let askingAtMost = 256
    private static let requestBytesAtMost = 4096

    private let streams: ModeStreams
    private let poll: Descriptor
    private let listener: Descriptor
    private let limits: GateConfiguration
    /// Who has not asked whole yet.
    private var asking: [Int32: Question] = [:]
    private var open: [Stream] = []
    /// Where in `open` a descriptor's stream is.
    private var places: [Int32: Int] = [:]
    private var lastSerial: UInt32 = 0
    private let clock = SteadyClock()
    private var said: ModeStreams.Board
    private var nextTick: Instant?
    /// The stream before which the next beat begins, and what is due of it.
    private var cursor = 0
    private var due = 0

    private struct Question {
        var descriptor: Descriptor
        var serial: UInt32
        var bytes: [UInt8] = []
        var deadline: Instant
    }

    private struct Stream {
        var descriptor: Descriptor
        var serial: UInt32
        var beats: UInt8
    }

    init(_ streams: ModeStreams, listener: Descriptor, limits: GateConfiguration) throws(GateError)
    {
        self.streams = streams
        self.listener = listener
        self.limits = limits
        said = streams.now
        let number = sluice_epoll_create()
        guard number >= 0 else { throw Sockets.failed("make an epoll set") }
        poll = Descriptor(number)
        for descriptor in [listener, streams.wakeUp] {
            guard watch(descriptor.number, 0) else { throw Sockets.failed("watch a socket") }
        }
    }

    func run() {
        var ready = [sluice_epoll_ready](repeating: sluice_epoll_ready(), count: 256)
        while !said.isStopped {
            let count = Int(sluice_epoll_wait(poll.number, &ready, Int32(ready.count), timeout()))
            precondition(count >= 0 || errno == EINTR, "epoll_wait failed: \(errorText())")
            for one in ready.prefix(max(0, count)) { handle(one.key, isGone: one.gone != 0) }
            if let nextTick, nextTick <= SteadyClock.sinceBoot { pass() }
        }
    }

    private func handle(_ key: UInt64, isGone: Bool) {
        let number = Int32(truncatingIfNeeded: key & 0xffff_ffff)
        let serial = UInt32(truncatingIfNeeded: key >> 32)
        if number == streams.wakeUp.number { return hear() }
        if number == listener.number { return accept() }
        // A descriptor may have been closed and given out again within one batch of events.
        if let question = asking[number], question.serial == serial {
            if isGone { asking[number] = nil } else { receive(number) }
        } else if let place = places[number], open[place].serial == serial {
            // Whoever listens says nothing more: more bytes are as good as an end.
            end(at: place)
        }
    }

    /// Says what is new to all who listen.
    private func hear() {
        streams.heedWakeUp()
        let board = streams.now
        let isNew = board.turn != said.turn
        let isFarewell = board.farewells != said.farewells
        said = board
        let event = event
        for place in open.indices.reversed() {
            if isFarewell { bidFarewell(at: place) } else if isNew { say(event, at: place) }
        }
    }
}

// MARK: Who comes

extension StreamLoop {
    private func accept() {
        // However many have come.
        defer { wind() }
        // Bounded, so that a flood does not keep those who listen waiting; epoll reports again.
        for _ in 0..<64 {
            let number = sluice_accept(listener.number)
            guard number >= 0 else {
                // Without a free descriptor there is somebody at the door for as long as there is none.
                if errno == EMFILE || errno == ENFILE { usleep(50_000) }
                return
            }
            let descriptor = Descriptor(number)
            lastSerial = lastSerial % 0xffff_fffe + 1
            guard asking.count < Self.askingAtMost, watch(number, lastSerial) else { continue }
            // What a client does not read waits here, and not without end.
            var room: Int32 = 16_384
            setsockopt(
                number, SOL_SOCKET, SO_SNDBUF, &room, socklen_t(MemoryLayout<Int32>.size))
            asking[number] = Question(
                descriptor: descriptor, serial: lastSerial,
                deadline: SteadyClock.sinceBoot + limits.requestTimeout)
        }
    }

    private func receive(_ number: Int32) {
        var chunk = [UInt8](repeating: 0, count: 2048)
        let count = recv(number, &chunk, chunk.count, 0)
        guard count > 0 else {
            if count == 0 || (errno != EAGAIN && errno != EINTR) { asking[number] = nil }
            return
        }
        asking[number]?.bytes += chunk[..<count]
        guard let question = asking[number] else { return }
        guard question.bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) else {
            if question.bytes.count > Self.requestBytesAtMost { asking[number] = nil }
            return
        }
        asking[number] = nil
        answer(question)
    }

    private func answer(_ question: Question) {
        let target = question.bytes.prefix { $0 != 13 }.split(separator: 32)
        guard target.count == 3, target[0].elementsEqual("GET".utf8),
            target[1].elementsEqual("/events".utf8)
        else { return refuse(question, "404 Not Found") }
        guard open.count < limits.streamsAtMost else {
            return refuse(question, "503 Service Unavailable\r\nRetry-After: 60")
        }
        // Those whom an agent that dies loses do not come back in one moment.
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            + "Connection: close\r\n\r\nretry: \(Int.random(in: 1000...4000))\n"
        places[question.descriptor.number] = open.count
        open.append(
            Stream(
                descriptor: question.descriptor, serial: question.serial,
                // They do not end together either.
                beats: .random(in: 0..<(Self.beatsAtMost / 3))))
        say(Array(head.utf8) + event, at: open.count - 1)
    }

    private func refuse(_ question: Question, _ status: String) {
        let answer = Array(
            "HTTP/1.1 \(status)\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".utf8)
        send(question.descriptor.number, answer, answer.count, Int32(MSG_NOSIGNAL))
    }

    private func watch(_ number: Int32, _ serial: UInt32) -> Bool {
        let key = UInt64(serial) << 32 | UInt64(UInt32(bitPattern: number))
        return sluice_epoll_watch(poll.number, number, key) == 0
    }
}

// MARK: Who listens

extension StreamLoop {
    /// What is so now.
    private var event: [UInt8] { ModeEvent(said.news, at: clock.now).bytes }

    /// A client that lets its buffer fill up is gone for us; it may come back, and hears all that is so then.
    private func say(_ bytes: [UInt8], at place: Int) {
        let sent = send(
            open[place].descriptor.number, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        if sent != bytes.count { end(at: place) }
    }

    private func bidFarewell(at place: Int) {
        // At once, and still not all in one moment.
        let words = Array("retry: \(Int.random(in: 100...1000))\n\n".utf8)
        send(open[place].descriptor.number, words, words.count, Int32(MSG_NOSIGNAL))
        end(at: place)
    }

    private func end(at place: Int) {
        places[open[place].descriptor.number] = nil
        let last = open.removeLast()
        guard place < open.count else { return }
        open[place] = last
        places[last.descriptor.number] = place
    }

    /// Hangs up on who does not finish asking, and says to some who listen what is so: to each of them once in a beat.
    private func pass() {
        let now = SteadyClock.sinceBoot
        nextTick = nil
        if open.isEmpty { due = 0 }
        asking = asking.filter { $0.value.deadline > now }
        due += open.count
        let event = event
        while due >= Self.ticksOfABeat, !open.isEmpty {
            due -= Self.ticksOfABeat
            // From the end to the beginning: whoever takes the place of one who leaves has been there.
            cursor = cursor > 0 && cursor <= open.count ? cursor - 1 : open.count - 1
            open[cursor].beats += 1
            if open[cursor].beats > Self.beatsAtMost {
                bidFarewell(at: cursor)
            } else {
                say(event, at: cursor)
            }
        }
        wind()
    }

    /// There is a next tick as long as there is anybody.
    private func wind() {
        guard nextTick == nil, !open.isEmpty || !asking.isEmpty else { return }
        nextTick = SteadyClock.sinceBoot + limits.streamTick
    }

    private func timeout() -> Int32 {
        guard let nextTick else { return -1 }
        return Int32(clamping: max(0, (nextTick - SteadyClock.sinceBoot).milliseconds))
    }
}
