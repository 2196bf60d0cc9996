// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import HostWork

@Suite(.serialized) struct ReleaseProcessesTests {
    /// By what alone each is found: its socket, what it was started with, where it works.
    @Test(arguments: ["workers", "threads", "workers threads forks"])
    func aFrozenReleaseWritesNothingAndGoesOnAfterItIsThawed(_ mode: String) async throws {
        let app = try TestApplication("v1", mode: mode)
        try await app.start()
        let processes = ReleaseProcesses(of: app.footprint, others: [])
        let socket = try #require(app.connect())
        #expect(socket.send() && socket.isAnswered(within: 5000))
        #expect(await app.writes())

        for _ in 0..<3 {
            let frozen = await processes.freeze()
            #expect(frozen.problem == nil && frozen.processes > 0)
            let before = app.written
            #expect(socket.send())
            #expect(!socket.isAnswered(within: 100))
            #expect(await !app.writes())
            #expect(app.written == before)

            #expect(await processes.thaw().problem == nil)
            #expect(socket.isAnswered(within: 5000), "what waited was done after the thaw")
            #expect(await app.writes())
        }
        #expect(await processes.end().problem == nil)
        #expect(processes.census().processes == 0)
    }

    /// The kernel lets stopped processes go on when the end of another one leaves their group to itself.
    @Test(arguments: ["workers threads forks", "workers groups", "workers threads"])
    func whatWaitsForAFrozenReleaseIsNeverDoneWhenItIsEnded(_ mode: String) async throws {
        let app = try TestApplication("v1", mode: mode)
        try await app.start()
        let processes = ReleaseProcesses(of: app.footprint, others: [])
        let socket = try #require(app.connect())
        #expect(socket.send() && socket.isAnswered(within: 5000))
        #expect(await processes.freeze().problem == nil)
        let before = app.written
        #expect(socket.send())
        let ended = await processes.end()
        #expect(ended.problem == nil && ended.processes >= 4)
        #expect(app.written == before)
        #expect(processes.census().processes == 0)
    }

    @Test(arguments: ["SLUICE_RELEASE_DIR", "SLUICE_SOCKET", "SLUICE_RELEASE", "place"])
    func eachMarkAloneIsEnough(_ mark: String) async throws {
        let app = try TestApplication("v1", mode: "workers")
        let values = [
            "SLUICE_RELEASE_DIR": app.footprint.directory + "/files",
            "SLUICE_SOCKET": app.footprint.socket, "SLUICE_RELEASE": app.footprint.identifier,
        ]
        if let value = values[mark] {
            app.environment = [mark: value]
        } else {
            app.place = app.footprint.directory + "/files"
        }
        // So that it is not found by listening as well.
        var footprint = app.footprint
        if mark != "SLUICE_SOCKET" { footprint.socket = "/nowhere.sock" }
        try await app.start()
        let processes = ReleaseProcesses(of: footprint, others: [])
        #expect(await processes.freeze().processes == 4)
        #expect(await !app.writes())
        #expect(await processes.end().problem == nil)
        #expect(processes.census().processes == 0)
    }

    @Test func theNewReleaseGoesOnThoughItHasTheOldOnesVariables() async throws {
        // As under a supervisor that the old release's start has begun, and that starts the new one too.
        let old = try TestApplication("v1", mode: "workers")
        let new = try TestApplication("v2", mode: "workers")
        old.environment = ["SLUICE_RELEASE": old.footprint.identifier]
        new.environment = old.environment
        try await old.start()
        try await new.start()
        let processes = ReleaseProcesses(of: old.footprint, others: [new.footprint])
        #expect(await processes.freeze().problem == nil)
        #expect(await !old.writes())
        #expect(await new.writes())
        #expect(await processes.end().problem == nil)
        #expect(await new.writes())
        _ = await ReleaseProcesses(of: new.footprint, others: []).end()
    }

    @Test func aProcessOfTwoReleasesIsSaidAndNeitherStoppedNorEnded() async throws {
        let old = try TestApplication("v1", mode: "")
        let other = try TestApplication("v2", mode: "workers")
        other.place = old.footprint.directory
        try await other.start()
        let processes = ReleaseProcesses(of: old.footprint, others: [other.footprint])
        let frozen = await processes.freeze(within: .milliseconds(200))
        #expect(frozen.problem?.contains("serves another release as well") == true)
        #expect(await other.writes())
        _ = await ReleaseProcesses(of: other.footprint, others: []).end()
    }

    @Test func aReleaseThatHasNoProcessIsFrozenAndEnded() async throws {
        let app = try TestApplication("v1", mode: "")
        let processes = ReleaseProcesses(of: app.footprint, others: [])
        #expect(await processes.freeze() == SilenceOutcome(processes: 0))
        #expect(await processes.end() == SilenceOutcome(processes: 0))
    }

    @Test func neitherTheAgentNorWhatItDescendsFromIsEverOfARelease() async throws {
        // The directory of this process itself: everything of the test is in it.
        let here = FileManager.default.currentDirectoryPath
        let footprint = ReleaseFootprint(
            identifier: "v1.here", directory: here, socket: "/nowhere.sock")
        let found = ReleaseProcesses(of: footprint, others: []).look()
        let numbers = Set(found.members.keys.map(\.number))
        #expect(!numbers.contains(getpid()) && !numbers.contains(getppid()))
        #expect(!numbers.contains(1))
    }

    @Test func aNameWithBracketsAndSpacesIsReadRight() throws {
        let text = "7 (a) b (c)) T 5 6 7 0 -1 4194304 1 2 3 4 5 6 7 8 9 10 11 12 98765 14 15"
        let status = try #require(ProcessStatus(number: 7, stat: Array(text.utf8)))
        #expect(status.name == "a) b (c)" && status.isStopped && status.parent == 5)
        #expect(status.identity.start == 98765 && !status.hasTerminal)
    }

    @Test func listenersAndConnectionsAreToldApart() {
        let text = """
            Num       RefCount Protocol Flags    Type St Inode Path
            ffff: 00000002 00000000 00010000 0001 01 111 /run/a b.sock
            ffff: 00000003 00000000 00000000 0001 03 112 /run/a b.sock
            ffff: 00000002 00000000 00000000 0001 02 113 /run/a b.sock
            ffff: 00000003 00000000 00000000 0001 03 114
            """
        let table = UnixSocketTable(parsing: Array(text.utf8))
        #expect(table.listeners(at: "/run/a b.sock") == [111])
        #expect(table.connections(at: "/run/a b.sock") == [112, 113])
    }
}
