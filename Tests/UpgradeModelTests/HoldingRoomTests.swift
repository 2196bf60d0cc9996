// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

/// What of a node's agent and application stands in the way of held requests, with what would not.
@Suite struct HoldingRoomTests {
    private func room(
        requests: Int = 8128, files: Int = 65_536, queue: Int? = nil, at place: String = "/run/a",
        longest: Int = 4096
    ) -> HoldingRoom {
        HoldingRoom(
            requests: requests, openFiles: files,
            queues: queue.map { [.init(place: place, length: $0)] } ?? [], longestQueue: longest)
    }

    @Test func whatFitsIsNoWarning() {
        #expect(room(queue: 100).warnings(holding: 1000) == [])
        #expect(room(queue: 5).warnings(holding: 0) == [])
        #expect(room(queue: 5).warnings(holding: 5) == [])
        #expect(room().warnings(holding: 8128) == [])
    }

    @Test func aShortListenQueueIsSaidWithItsPlaceAndWhatToSet() throws {
        let warning = try #require(room(queue: 5).warnings(holding: 1000).first)
        #expect(warning.contains("listen queue at /run/a takes 5, and up to 64"))
        #expect(warning.contains("get 502; give it a backlog of 128"))
        #expect(!warning.contains("somaxconn"))
        let tcp = room(queue: 5, at: "127.0.0.1:8000").warnings(holding: 20)
        #expect(tcp.first?.contains("up to 20 of the held requests") == true)
        #expect(tcp.first?.contains("wait for seconds") == true)
        let cut = room(queue: 20, longest: 20).warnings(holding: 1000)
        #expect(cut.first?.contains("net.core.somaxconn, which is 20") == true)
    }

    /// What it says leads out.
    @Test func aHoldThatTheAgentCutsShortIsSaidWithWhatToSet() throws {
        var room = room()
        #expect(room.warnings(holding: 10, for: .minutes(5)) == [])
        room.longestHold = .seconds(110)
        #expect(room.warnings(holding: 10, for: .seconds(110)) == [])
        let warning = try #require(room.warnings(holding: 10, for: .minutes(5)).first)
        #expect(warning.contains("no request for longer than 110s (gate.longest_hold"))
        #expect(warning.contains("set it to 5m, and what waits for the gate's answer to 310s"))
        room.longestHold = .minutes(5)
        #expect(room.warnings(holding: 10, for: .minutes(5)) == [])
    }

    @Test func tooFewOpenFilesAreSaidWithTheUnitsKey() throws {
        let few = try #require(
            room(requests: 704, files: 1024).warnings(holding: 1000).first)
        #expect(few.contains("room for 704 held requests (1024 open files)"))
        #expect(few.contains("LimitNOFILE=65536"))
        let own = try #require(room().warnings(holding: 10_000).first)
        #expect(
            !own.contains("LimitNOFILE") && own.contains("lower the plan's hold_at_most to 8128"))
    }
}
