// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import Synchronization
import UpgradeModel

/// Streams of server-sent events, for the pages that people have open.
///
/// Strangers open them, through the proxy. So they have a socket, a thread and a bound of their own: however many there are, and
/// however slowly they read, the gate answers as fast as before.
final class ModeStreams: Sendable {
    /// What other threads leave for the thread of the streams.
    struct Board: Sendable {
        var news: PageNews
        /// How often they have changed.
        var turn = 0
        /// How often all streams had to end.
        var farewells = 0
        var isStopped = false
    }

    /// Readable when the board has changed.
    let wakeUp: Descriptor
    private let wakeWriter: Descriptor
    private let board: Mutex<Board>
    private let ended = DispatchSemaphore(value: 0)

    /// - Throws: when the socket cannot be made or the thread not be started.
    init(_ configuration: GateConfiguration, saying news: PageNews) throws(GateError) {
        (wakeUp, wakeWriter) = try Sockets.pair()
        board = Mutex(Board(news: news))
        let loop = try StreamLoop(
            self,
            listener: try Sockets.listen(
                at: configuration.streamSocket, mode: configuration.socketMode,
                group: configuration.socketGroup),
            limits: configuration)
        let ended = ended
        try startThread("the thread of the streams") {
            loop.run()
            ended.signal()
        }
    }

    var now: Board { board.withLock { $0 } }

    /// Tells all who listen, and whoever comes from now on. The same again is not said again.
    func say(_ news: PageNews) {
        change { board in
            let isSaid = board.news.isSaid(as: news)
            board.news = news
            if isSaid { return false }
            board.turn += 1
            return true
        }
    }

    /// Ends all streams, so that they come back where the load balancer sends them.
    func endAll() {
        change { board in
            board.farewells += 1
            return true
        }
    }

    /// Ends the thread, and every stream with it.
    func stop() {
        change { board in
            board.isStopped = true
            return true
        }
        ended.wait()
    }

    func heedWakeUp() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(wakeUp.number, &bytes, bytes.count) == bytes.count {}
    }

    private func change(_ body: (inout Board) -> Bool) {
        // A full socket wakes as well as one more byte would.
        if board.withLock({ body(&$0) }) { write(wakeWriter.number, [1], 1) }
    }
}
