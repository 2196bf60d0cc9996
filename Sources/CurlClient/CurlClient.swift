// SPDX-License-Identifier: Apache-2.0

/// Sends HTTP requests through libcurl.
///
/// A client is one thread and one pool of connections. The thread sleeps in `curl_multi_poll` without a tick while nothing
/// arrives, so a client with one long poll costs no processor time. Requests run beside one another; connections are kept and
/// used again. Use a client of its own for downloads that write files, so that a slow disk delays nothing else.
public final class CurlClient: Sendable {
    private let loop: TransferLoop

    public struct Configuration: Hashable, Sendable {
        /// Connections at once; further requests wait for one of them, within their own timeouts.
        public var maximumConnections: Int
        /// Requests at once, waiting ones included; one more is refused as ``HTTPFailure/Code/overloaded``.
        public var maximumRequests: Int

        public init(maximumConnections: Int = 64, maximumRequests: Int = 1024) {
            self.maximumConnections = maximumConnections
            self.maximumRequests = maximumRequests
        }
    }

    public init(_ configuration: Configuration = Configuration()) {
        loop = TransferLoop(configuration)
        loop.start()
    }

    deinit { loop.close() }

    /// Sends a request and waits for the whole answer.
    ///
    /// Cancelling the task ends the transfer. When this returns, however it returns, nothing of the transfer is left.
    public func perform(_ request: HTTPRequest) async throws(HTTPFailure) -> HTTPResponse {
        try await run(Transfer(request, receiver: nil)).get()
    }

    /// Sends a request and hands the answer over as it arrives: server-sent events, or a download into a file.
    ///
    /// Both closures run on the client's thread, never at once, and never after this has returned. They must be quick (a
    /// `write` to a file is, an `fsync` is not), because every other transfer of this client waits for them; that is also what
    /// bounds the stream: nothing is buffered. `maximumBody` of the request applies.
    ///
    /// - Parameters:
    ///   - onHead: called once, before the first bytes; false ends the transfer as ``HTTPFailure/Code/stopped``.
    ///   - onBytes: called with bytes that are valid only during the call; false ends the transfer likewise.
    ///
    /// SAFETY: `onBytes` gets bytes that libcurl owns for the length of the call; it copies what it keeps.
    @discardableResult
    public func stream(
        _ request: HTTPRequest,
        onHead: @escaping @Sendable (HTTPResponseHead) -> Bool = { _ in true },
        onBytes: @escaping @Sendable (UnsafeRawBufferPointer) -> Bool
    ) async throws(HTTPFailure) -> HTTPResponseHead {
        let receiver = Transfer.Receiver(onHead: onHead, onBytes: onBytes)
        return try await run(Transfer(request, receiver: receiver)).get().head
    }

    /// Ends every transfer as ``HTTPFailure/Code/closed`` and the thread with them. Later requests are refused.
    ///
    /// Returns at once, and may be called from anywhere, more than once. The last reference going away does the same.
    public func close() { loop.close() }

    private func run(_ transfer: Transfer) async -> Result<HTTPResponse, HTTPFailure> {
        if let finding = findingInRequest(transfer.request) {
            return .failure(transfer.failure(.invalidRequest, finding))
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.submit(transfer, continuation)
            }
        } onCancel: {
            loop.cancel(transfer)
        }
    }
}
