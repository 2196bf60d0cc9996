// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import RunStore
import SQLiteRunStore
import TestSupport
import Testing
import UpgradeModel

@testable import CoordinatorProgram

@Suite struct CoordinatorCommandTests {
    @Test(arguments: [(EADDRINUSE, "taken"), (EADDRNOTAVAIL, "no address"), (EACCES, "may not")])
    func thatFailsSaysWhereAndWhatToDo(_ number: Int32, _ words: String) throws {
        let command = try CoordinatorCommand.parse(["--listen", "127.0.0.1:80"])
        let reason = try #require(command.reason(notListening: number))
        #expect(reason.contains("127.0.0.1:80"))
        #expect(reason.contains(words))
        #expect(reason.contains("--listen"))
    }

    @Test
    func aCertificateWithoutItsKeyIsRefused() {
        #expect(throws: (any Error).self) {
            try CoordinatorCommand.parse(["--tls-certificate", "a.pem"])
        }
        #expect(throws: Never.self) { try CoordinatorCommand.parse([]) }
    }

    @Test
    func refusesAKeyOrAJournalThatOthersMayReadAndSaysHowToMendIt() throws {
        let directory = try TemporaryDirectory()
        let key = "\(directory.path)/key.pem"
        let data = try DataOption.parse(["--data", directory.path])
        try Data().write(to: URL(filePath: key))
        try #require(chmod(key, 0o640) == 0)
        #expect(throws: ExitCode(3)) { try data.requireSecrecy(key) }
        try #require(chmod(key, 0o600) == 0)
        try data.requireSecrecy(key)
        let journal = "\(directory.path)/sluice.db"
        try Data().write(to: URL(filePath: journal))
        try #require(chmod(journal, 0o644) == 0)
        // In a directory of its user's own nobody comes to it.
        try #require(chmod(directory.path, 0o700) == 0)
        try data.requireSecrecy(nil)
        try #require(chmod(directory.path, 0o755) == 0)
        #expect(throws: ExitCode(3)) { try data.requireSecrecy(nil) }
    }

    @Test
    func beginsAJournalOfItsOwnWhereOthersMayEnterAndTheCoordinatorTakesIt() async throws {
        let directory = try TemporaryDirectory()
        try #require(chmod(directory.path, 0o755) == 0)
        let data = try DataOption.parse(["--data", directory.path])
        try await data.withStore { _ in }
        try data.requireSecrecy(nil)
    }

    @Test
    func keepsDescriptorsForTheStoreAndRefusesToStartWithTooFew() throws {
        #expect(try connectionLimit(files: 1024) == 896)
        #expect(try connectionLimit(files: 1_000_000) == 32_768)
        #expect(throws: ExitCode(3)) { try connectionLimit(files: 200) }
        #expect(raiseLimitOfOpenFiles() > 200)
    }

    @Test
    func examinesTheJournalBesideALeaderAndFindsAnEditedEvent() async throws {
        let directory = try TemporaryDirectory()
        let verify = try JournalCommand.Verify.parse(["--data", directory.path])
        await #expect(throws: ExitCode(3)) { try await verify.run() }
        let store = try await SQLiteRunStore(directory: directory.path)
        let lease = FileLeaderLease(directory: directory.path, store: store)
        let epoch = try await lease.acquire(holder: "one")
        #expect(FileLeaderLease.isHeld(in: directory.path))
        try await store.append(
            JournalAppend(
                run: RunIdentifier(unchecked: "run-1"), expectedVersion: 0, epoch: epoch,
                at: Instant(milliseconds: 1), bodies: [[1], [2]],
                claim: .take(FleetName(unchecked: "web"))))
        try await verify.run()
        await store.close()
        await lease.release()
        try await verify.run()
        let file = "\(directory.path)/sluice.db"
        var bytes = [UInt8](try Data(contentsOf: URL(filePath: file)))
        // The epoch that is stored in each event's row; no page is torn by it.
        let name = Array("run-1".utf8)
        let places = bytes.indices.filter { bytes[$0...].starts(with: name) }
        try #require(!places.isEmpty)
        for place in places { bytes[place] = UInt8(ascii: "R") }
        try Data(bytes).write(to: URL(filePath: file))
        await #expect(throws: ExitCode(1)) { try await verify.run() }
    }
}
