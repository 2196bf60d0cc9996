// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// What a client may let a connection wait for.
struct Patience: Sendable {
    /// A stranger on whose connection nothing is under way.
    var stranger = Duration.seconds(15)
    /// A body before it has to come at `bytesPerSecond`; an answer before it has to be taken at that rate.
    var body = Duration.seconds(30)
    var answer = Duration.seconds(60)
    var bytesPerSecond = 8192
    /// After an answer that says that the connection ends.
    var goodbye = Duration.seconds(5)
    /// How often it is looked at.
    var interval = Duration.seconds(15)
}

/// Watches over one connection, with a token or without.
///
/// One request at a time: the next is let through when the last is answered, and none behind an answer that ends the connection.
/// A body that trickles in, an answer that is not taken, and a stranger who says nothing end it.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let connections: Connections
    private let patience: Patience
    private var check: RepeatedTask?
    /// Parts of requests that came before the last one was answered.
    private var waiting = CircularBuffer<HTTPRequestPart>(initialCapacity: 0)
    private var isAnswering = false
    private var isLast = false
    /// The last answer is given: whatever comes is left unread.
    private var isOver = false
    private var isReadWanted = false
    private var isReading = false
    private var body: Progress?
    private var answer: Progress?
    private var unwritten = 0

    /// Bytes since when.
    private struct Progress {
        var bytes = 0
        var since = ContinuousClock.now

        /// Whether it has taken longer than these bytes may take.
        func isTooSlow(_ grace: Duration, _ bytesPerSecond: Int) -> Bool {
            ContinuousClock.now - since > grace + .seconds(bytes / bytesPerSecond)
        }
    }

    init(_ connections: Connections, _ patience: Patience) {
        self.connections = connections
        self.patience = patience
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(context)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end(context) }

    private func begin(_ context: ChannelHandlerContext) {
        guard check == nil else { return }
        connections.add(context.channel)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let interval = TimeAmount(patience.interval)
        check = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) {
            _ in
            let (guardian, context) = bound.value
            if guardian.isTooSlow(context.channel) { context.close(promise: nil) }
        }
    }

    private func end(_ context: ChannelHandlerContext) {
        check?.cancel()
        check = nil
        connections.remove(context.channel)
    }

    private func isTooSlow(_ channel: any Channel) -> Bool {
        // Only while this side waits for more: a slow disk is not the client's fault.
        if isReading, body?.isTooSlow(patience.body, patience.bytesPerSecond) == true {
            return true
        }
        if unwritten > 0, answer?.isTooSlow(patience.answer, patience.bytesPerSecond) == true {
            return true
        }
        return connections.isStale(channel, after: patience.stranger)
    }

    // MARK: Requests

    func read(context: ChannelHandlerContext) {
        if waiting.isEmpty {
            isReading = true
            context.read()
        } else {
            isReadWanted = true
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        context.fireChannelReadComplete()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if isOver { return }
        var isNext = !waiting.isEmpty
        if case .head = part { isNext = isNext || isAnswering }
        if isNext { waiting.append(part) } else { deliver(part, context) }
    }

    private func deliver(_ part: HTTPRequestPart, _ context: ChannelHandlerContext) {
        switch part {
        case .head:
            isAnswering = true
            body = Progress()
            connections.setBusy(true, context.channel)
        case .body(let bytes): body?.bytes += bytes.readableBytes
        case .end: body = nil
        }
        context.fireChannelRead(wrapInboundOut(part))
    }

    /// The next request, as far as it has come.
    private func deliverNext(_ context: ChannelHandlerContext) {
        while let part = waiting.first {
            if case .head = part, isAnswering { break }
            waiting.removeFirst()
            deliver(part, context)
        }
        // Whoever reads looks at what was delivered when this is said, however much still waits.
        context.fireChannelReadComplete()
        if waiting.isEmpty, isReadWanted {
            isReadWanted = false
            read(context: context)
        }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part = unwrapOutboundIn(data)
        var bytes = 0
        var isEnd = false
        switch part {
        case .head(let head): isLast = isLast || head.headerFields[.connection] == "close"
        case .body(let buffer): bytes = buffer.readableBytes
        case .end: isEnd = true
        }
        if unwritten == 0 { answer = Progress() }
        unwritten += 1
        answer?.bytes += bytes
        let promise = promise ?? context.eventLoop.makePromise()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        promise.futureResult.hop(to: context.eventLoop).assumeIsolated().whenComplete { _ in
            let (guardian, context) = bound.value
            guardian.written(isEnd: isEnd, context)
        }
        context.write(data, promise: promise)
    }

    private func written(isEnd: Bool, _ context: ChannelHandlerContext) {
        unwritten -= 1
        guard isEnd else { return }
        isAnswering = false
        connections.setBusy(false, context.channel)
        if isLast {
            isOver = true
            waiting.removeAll()
            let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: TimeAmount(patience.goodbye)) {
                bound.value.close(promise: nil)
            }
        } else {
            deliverNext(context)
        }
    }
}
