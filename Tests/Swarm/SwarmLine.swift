// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import NIOPosix

/// One connection to the coordinator, with one request on it at a time; made again when it has ended.
final class SwarmLine: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart
    /// The answer's status and body; status 0 when the connection ended first.
    typealias Answer = (_ status: UInt, _ body: ByteBuffer) -> Void

    private let loop: any EventLoop
    private let host: String
    private let port: Int
    private let token: String
    private var channel: (any Channel)?
    private var answer: Answer?
    private var status: UInt = 0
    private var body = ByteBuffer()

    init(_ loop: any EventLoop, host: String, port: Int, token: String) {
        self.loop = loop
        self.host = host
        self.port = port
        self.token = token
    }

    func send(
        _ method: HTTPMethod, _ path: String, _ bytes: ByteBuffer?, _ answer: @escaping Answer
    ) {
        self.answer = answer
        if let channel, channel.isActive { return write(method, path, bytes, channel) }
        let line = NIOLoopBound(self, eventLoop: loop)
        ClientBootstrap(group: loop)
            .connectTimeout(.seconds(60))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(line.value)
                }
            }
            .connect(host: host, port: port).assumeIsolated().whenComplete { result in
                switch result {
                case .success(let channel):
                    line.value.channel = channel
                    line.value.write(method, path, bytes, channel)
                case .failure: line.value.end(0)
                }
            }
    }

    private func write(
        _ method: HTTPMethod, _ path: String, _ bytes: ByteBuffer?, _ channel: any Channel
    ) {
        status = 0
        body = ByteBuffer()
        var headers = HTTPHeaders([("Host", host), ("Authorization", "Bearer \(token)")])
        if let bytes { headers.add(name: "Content-Length", value: "\(bytes.readableBytes)") }
        let head = HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        if let bytes { channel.write(HTTPClientRequestPart.body(.byteBuffer(bytes)), promise: nil) }
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): status = head.status.code
        case .body(var part): body.writeBuffer(&part)
        case .end: end(status)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        channel = nil
        end(0)
        context.fireChannelInactive()
    }

    private func end(_ status: UInt) {
        let answer = answer
        self.answer = nil
        answer?(status, body)
    }
}
