// SPDX-License-Identifier: Apache-2.0

internal import CCurl
internal import Glibc
internal import Synchronization

/// The thread of a client: the only one that touches the multi handle and the transfers, apart from `curl_multi_wakeup`.
final class TransferLoop: Sendable {
    private let configuration: CurlClient.Configuration
    private let mailbox = Mutex(Mailbox())

    typealias Continuation = CheckedContinuation<Result<HTTPResponse, HTTPFailure>, Never>

    private enum Command {
        case start(Transfer, Continuation)
        case cancel(Transfer)
    }

    private struct Mailbox {
        var multi: MultiHandle?
        var commands: [Command] = []
        /// Requests submitted and not yet finished.
        var requests = 0
        var closeRequested = false
    }

    init(_ configuration: CurlClient.Configuration) { self.configuration = configuration }

    /// Starts the thread. Without a multi handle or a thread every request fails as `closed`.
    func start() {
        guard CurlLibrary.initialised, let raw = curl_multi_init() else { return }
        _ = sluice_curl_multi_set_long(
            raw, CURLMOPT_MAX_TOTAL_CONNECTIONS, max(1, configuration.maximumConnections))
        let multi = MultiHandle(raw: raw)
        mailbox.withLock { $0.multi = multi }

        // SAFETY: the retain is given to the thread, which releases it when it ends.
        let retained = Unmanaged.passRetained(self)
        var before = sigset_t()
        var all = sigset_t()
        sigfillset(&all)
        // The thread inherits the mask. No signal of the process is handled there, and a SIGPIPE that OpenSSL causes by
        // writing to a closed socket stays pending instead of ending the process.
        pthread_sigmask(SIG_SETMASK, &all, &before)
        var thread = pthread_t()
        let failed = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                // SAFETY: balances passRetained in start().
                Unmanaged<TransferLoop>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, retained.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        if failed == 0 {
            pthread_detach(thread)
        } else {
            retained.release()
            mailbox.withLock { $0.multi = nil }
            curl_multi_cleanup(raw)
        }
    }

    func submit(_ transfer: Transfer, _ continuation: Continuation) {
        let refusal: HTTPFailure? = mailbox.withLock { mailbox in
            guard let multi = mailbox.multi, !mailbox.closeRequested else {
                return transfer.failure(.closed, "the HTTP client is closed")
            }
            guard mailbox.requests < configuration.maximumRequests else {
                return transfer.failure(
                    .overloaded,
                    "\(mailbox.requests) requests are under way, which is the limit; try later")
            }
            mailbox.requests += 1
            mailbox.commands.append(.start(transfer, continuation))
            curl_multi_wakeup(multi.raw)
            return nil
        }
        if let refusal { continuation.resume(returning: .failure(refusal)) }
    }

    func cancel(_ transfer: Transfer) {
        // The flag is for a transfer that has not been submitted yet: its start sees it.
        transfer.cancelRequested.store(true, ordering: .sequentiallyConsistent)
        mailbox.withLock { mailbox in
            guard let multi = mailbox.multi else { return }
            mailbox.commands.append(.cancel(transfer))
            curl_multi_wakeup(multi.raw)
        }
    }

    func close() {
        mailbox.withLock { mailbox in
            mailbox.closeRequested = true
            if let multi = mailbox.multi { curl_multi_wakeup(multi.raw) }
        }
    }

    // MARK: - On the thread

    private func run() {
        guard let multi = mailbox.withLock({ $0.multi })?.raw else { return }
        var active: [UnsafeMutableRawPointer: (Transfer, Continuation)] = [:]

        func finish(_ easy: UnsafeMutableRawPointer, _ code: CURLcode?, _ reason: HTTPFailure.Code?)
        {
            guard let (transfer, continuation) = active.removeValue(forKey: easy) else { return }
            curl_multi_remove_handle(multi, easy)
            let result = transfer.end(code, reason)
            mailbox.withLock { $0.requests -= 1 }
            continuation.resume(returning: result)
        }

        func start(_ transfer: Transfer, _ continuation: Continuation) {
            let isCancelled = transfer.cancelRequested.load(ordering: .sequentiallyConsistent)
            let easy = isCancelled ? nil : transfer.begin()
            if let easy, curl_multi_add_handle(multi, easy) == CURLM_OK {
                active[easy] = (transfer, continuation)
                return
            }
            let result = transfer.end(nil, isCancelled ? .cancelled : .other)
            mailbox.withLock { $0.requests -= 1 }
            continuation.resume(returning: result)
        }

        while true {
            let (commands, isClosing) = mailbox.withLock { mailbox in
                defer { mailbox.commands.removeAll() }
                return (mailbox.commands, mailbox.closeRequested)
            }
            for command in commands {
                switch command {
                case .start(let transfer, let continuation): start(transfer, continuation)
                case .cancel(let transfer):
                    if let easy = transfer.easy { finish(easy, nil, .cancelled) }
                }
            }
            if isClosing { break }
            var running: Int32 = 0
            let performed = curl_multi_perform(multi, &running)
            var code = CURLE_OK
            while let easy = sluice_curl_multi_next_done(multi, &code) { finish(easy, code, nil) }
            // Blocks until a socket, a timer of curl's own, or a wakeup. The hour is never reached in vain: it costs nothing.
            let polled = curl_multi_poll(multi, nil, 0, 3_600_000, nil)
            if performed != CURLM_OK || polled != CURLM_OK { close() }
        }

        for easy in Array(active.keys) { finish(easy, nil, .closed) }
        // Nobody can wake the handle any more once it has left the mailbox.
        let late = mailbox.withLock { mailbox in
            mailbox.multi = nil
            defer { mailbox.commands.removeAll() }
            return mailbox.commands
        }
        for case .start(let transfer, let continuation) in late {
            continuation.resume(returning: transfer.end(nil, .closed))
        }
        curl_multi_cleanup(multi)
    }
}

/// SAFETY: the pointer is used by the loop's thread only, except for `curl_multi_wakeup`, which libcurl allows from any thread
/// and which is called under the mailbox's lock, so never after the handle has been cleaned up.
private struct MultiHandle: @unchecked Sendable {
    let raw: UnsafeMutableRawPointer
}

private enum CurlLibrary {
    /// Once a process, before the first handle; Swift makes the initialiser of a static run once.
    static let initialised = sluice_curl_global_init() == CURLE_OK
}
