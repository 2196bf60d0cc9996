// SPDX-License-Identifier: Apache-2.0

import Glibc
import TestSupport
import Testing

@testable import HostWork

/// How long a listen queue is that somebody has made: asked of the kernel, about real sockets.
@Suite struct ListenQueuesTests {
    @Test func theBacklogOfAUnixSocketIsKnownByEachOfItsPaths() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/app.sock"
        let socket = try ListeningSocket(unixSocket: path, backlog: 5)
        defer { socket.stop() }
        try #require(symlink(path, directory.path + "/current") == 0)
        let queues = try #require(ListenQueues.now())
        #expect(queues.length(at: path) == 5)
        #expect(queues.length(at: directory.path + "/current") == 5)
        #expect(queues.length(at: directory.path + "/absent.sock") == nil)
    }

    @Test func theBacklogOfAPortIsKnown() throws {
        let socket = try ListeningSocket(backlog: 7)
        defer { socket.stop() }
        #expect(try #require(ListenQueues.now()).length(ofPort: socket.port) == 7)
    }

    @Test func noQueueIsLongerThanTheKernelAllows() throws {
        let longest = try #require(ListenQueues.longest)
        let directory = try TemporaryDirectory()
        let path = directory.path + "/long.sock"
        let socket = try ListeningSocket(unixSocket: path, backlog: .max)
        defer { socket.stop() }
        #expect(try #require(ListenQueues.now()).length(at: path) == longest)
    }

    /// Two on one path, one after the other: the first still listens when the second has taken the name.
    @Test func thePathOfASocketThatWasReplacedIsTheNewOnes() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/app.sock"
        let old = try ListeningSocket(unixSocket: path, backlog: 5)
        let new = try ListeningSocket(unixSocket: path, backlog: 64)
        defer {
            old.stop()
            new.stop()
        }
        #expect(try #require(ListenQueues.now()).length(at: path) == 64)
    }
}
