// SPDX-License-Identifier: Apache-2.0

import RunStore
import Synchronization
import Testing
import UpgradeModel

/// What every journal keeps, whatever it is made of.
@Suite struct JournalConformanceTests {
    @Test(arguments: Implementation.allCases)
    func givesBackWhatWasAppendedInOrderWithItsVersionEpochAndInstant(
        _ implementation: Implementation
    ) async throws {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        try await stores.journal.append(
            JournalAppend(run1, after: 0, epoch: epoch, at: 10, ["a", "b"], claim: .take(web)))
        try await stores.journal.append(JournalAppend(run1, after: 2, epoch: epoch, at: 20, ["c"]))
        let events = try await stores.journal.events(of: run1, after: 0, limit: 10)
        #expect(events.map(\.text) == ["a", "b", "c"])
        #expect(events.map(\.version) == [1, 2, 3])
        #expect(events.map(\.epoch) == [epoch, epoch, epoch])
        #expect(events.map(\.at.milliseconds) == [10, 10, 20])
        #expect(events.allSatisfy { $0.run == run1 })
        #expect(try await stores.journal.events(of: run1, after: 1, limit: 1).map(\.text) == ["b"])
        #expect(try await stores.journal.events(of: run1, after: 3, limit: 1).isEmpty)
        #expect(try await stores.journal.events(of: run2, after: 0, limit: 1).isEmpty)
        #expect(try await stores.journal.latestInstant() == Instant(milliseconds: 20))
    }

    @Test(arguments: Implementation.allCases)
    func keepsBytesOfEveryValueAndAnEmptyBody(_ implementation: Implementation) async throws {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        let bodies: [[UInt8]] = [Array(0...255), [], [0]]
        try await stores.journal.append(
            JournalAppend(
                run: run1, expectedVersion: 0, epoch: epoch, at: Instant(milliseconds: 1),
                bodies: bodies,
                claim: .take(web)))
        #expect(try await stores.journal.events(of: run1, after: 0, limit: 9).map(\.body) == bodies)
    }

    @Test(arguments: Implementation.allCases)
    func refusesAnAppendAtAnotherVersionAndStoresNothingOfIt(_ implementation: Implementation)
        async throws
    {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        try await stores.journal.append(
            JournalAppend(run1, after: 0, epoch: epoch, ["a", "b"], claim: .take(web)))
        for expected in [Int64(0), 1, 3] {
            await #expect(throws: StoreFailure.conflict(run: run1, expected: expected, actual: 2)) {
                try await stores.journal.append(
                    JournalAppend(run1, after: expected, epoch: epoch, ["x"], claim: .release(web)))
            }
        }
        #expect(
            try await stores.journal.events(of: run1, after: 0, limit: 9).map(\.text) == ["a", "b"])
        #expect(try await stores.journal.claims().map(\.run) == [run1])
    }

    @Test(arguments: Implementation.allCases)
    func refusesAnEarlierLeaderOnceALaterOneHasTheLead(_ implementation: Implementation)
        async throws
    {
        let stores = try await implementation.open()
        let first = stores.lease()
        let old = try await first.acquire(holder: "one")
        try await stores.journal.append(
            JournalAppend(run1, after: 0, epoch: old, ["a"], claim: .take(web)))
        await first.release()
        let new = try await stores.lease().keepingLead(of: "two")
        #expect(new == old.next)
        await #expect(throws: StoreFailure.superseded(by: new)) {
            try await stores.journal.append(JournalAppend(run1, after: 1, epoch: old, ["late"]))
        }
        try await stores.journal.append(JournalAppend(run1, after: 1, epoch: new, ["b"]))
        #expect(
            try await stores.journal.events(of: run1, after: 0, limit: 9).map(\.text) == ["a", "b"])
    }

    @Test(arguments: Implementation.allCases)
    func refusesAnEpochThatNobodyWasGiven(_ implementation: Implementation) async throws {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        await #expect {
            try await stores.journal.append(
                JournalAppend(run1, after: 0, epoch: epoch.next, ["a"], claim: .take(web)))
        } throws: { error in
            if case .corrupt = error as? StoreFailure { true } else { false }
        }
    }

    @Test(arguments: Implementation.allCases)
    func letsOneRunHaveAFleetAndTellsTheSecondWhoHasItSinceWhen(_ implementation: Implementation)
        async throws
    {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        let journal = stores.journal
        try await journal.append(
            JournalAppend(run1, after: 0, epoch: epoch, at: 70, ["a"], claim: .take(web)))
        let held = FleetClaim(fleet: web, run: run1, since: Instant(milliseconds: 70))
        await #expect(throws: StoreFailure.fleetHeld(held)) {
            try await journal.append(
                JournalAppend(run2, after: 0, epoch: epoch, at: 80, ["b"], claim: .take(web)))
        }
        #expect(try await journal.runs(limit: 9).map(\.run) == [run1])
        #expect(try await journal.claims() == [held])
        try await journal.append(
            JournalAppend(run1, after: 1, epoch: epoch, at: 90, ["end"], claim: .release(web)))
        #expect(try await journal.claims().isEmpty)
        try await journal.append(
            JournalAppend(run2, after: 0, epoch: epoch, at: 99, ["b"], claim: .take(web)))
        #expect(
            try await journal.claims() == [
                FleetClaim(fleet: web, run: run2, since: Instant(milliseconds: 99))
            ])
    }

    @Test(arguments: Implementation.allCases)
    func doesNotLetARunGiveBackTheFleetOfAnother(_ implementation: Implementation) async throws {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        let journal = stores.journal
        try await journal.append(
            JournalAppend(run1, after: 0, epoch: epoch, ["a"], claim: .take(web)))
        try await journal.append(
            JournalAppend(run2, after: 0, epoch: epoch, ["b"], claim: .take(shop)))
        await #expect(throws: StoreFailure.self) {
            try await journal.append(
                JournalAppend(run2, after: 1, epoch: epoch, ["x"], claim: .release(web)))
        }
        #expect(try await journal.claims().map(\.fleet) == [shop, web])
        #expect(try await journal.events(of: run2, after: 0, limit: 9).count == 1)
    }

    @Test(arguments: Implementation.allCases)
    func refusesTheFirstEventOfARunThatTakesNoFleet(_ implementation: Implementation) async throws {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        await #expect(throws: StoreFailure.notFound("run run-1")) {
            try await stores.journal.append(JournalAppend(run1, after: 0, epoch: epoch, ["a"]))
        }
        #expect(try await stores.journal.runs(limit: 9).isEmpty)
    }

    @Test(arguments: Implementation.allCases)
    func storesAppendsThatBelongTogetherAllOrNoneInTheirOrder(_ implementation: Implementation)
        async throws
    {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        let journal = stores.journal
        try await journal.append([
            JournalAppend(run1, after: 0, epoch: epoch, ["a"], claim: .take(web)),
            JournalAppend(run1, after: 1, epoch: epoch, ["b"], claim: .release(web)),
            JournalAppend(run2, after: 0, epoch: epoch, ["c"], claim: .take(web)),
        ])
        #expect(try await journal.claims().map(\.run) == [run2])
        await #expect(throws: StoreFailure.conflict(run: run1, expected: 9, actual: 2)) {
            try await journal.append([
                JournalAppend(run2, after: 1, epoch: epoch, ["x"], claim: .release(web)),
                JournalAppend(run1, after: 9, epoch: epoch, ["y"]),
            ])
        }
        #expect(try await journal.claims().map(\.run) == [run2])
        #expect(try await journal.events(of: run2, after: 0, limit: 9).map(\.text) == ["c"])
        try await journal.append(JournalAppend(run2, after: 1, epoch: epoch, ["d"]))
        #expect(try await journal.events(of: run2, after: 0, limit: 9).map(\.text) == ["c", "d"])
    }

    @Test(arguments: Implementation.allCases)
    func listsRunsWithTheNewestFirst(_ implementation: Implementation) async throws {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        for number in 1...5 {
            let run = RunIdentifier(unchecked: "run-\(number)")
            let fleet = FleetName(unchecked: "fleet-\(number)")
            try await stores.journal.append(
                JournalAppend(
                    run, after: 0, epoch: epoch, at: Int64(number), ["a"], claim: .take(fleet)))
        }
        try await stores.journal.append(JournalAppend(run2, after: 1, epoch: epoch, ["b"]))
        let runs = try await stores.journal.runs(limit: 4)
        #expect(runs.map(\.run.rawValue) == ["run-5", "run-4", "run-3", "run-2"])
        #expect(runs.map(\.version) == [1, 1, 1, 2])
        #expect(runs[0].fleet.rawValue == "fleet-5")
        #expect(runs[0].createdAt == Instant(milliseconds: 5))
    }

    @Test(arguments: Implementation.allCases)
    func decidesBetweenAppendsAtTheSameTimeOneWinsEachVersion(_ implementation: Implementation)
        async throws
    {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        let journal = stores.journal
        let acknowledged = await withTaskGroup(of: String?.self) { group in
            for number in 0..<64 {
                group.addTask {
                    let append = JournalAppend(
                        run1, after: 0, epoch: epoch, ["by \(number)"], claim: .take(web))
                    do {
                        try await journal.append(append)
                        return "by \(number)"
                    } catch {
                        return nil
                    }
                }
            }
            return await group.reduce(into: [String]()) { all, one in if let one { all.append(one) }
            }
        }
        #expect(acknowledged.count == 1)
        #expect(try await journal.events(of: run1, after: 0, limit: 99).map(\.text) == acknowledged)
    }

    @Test(arguments: Implementation.allCases)
    func keepsWhatIsAppendedForManyRunsAtTheSameTime(_ implementation: Implementation) async throws
    {
        let stores = try await implementation.open()
        let epoch = try await stores.lease().keepingLead(of: "one")
        let journal = stores.journal
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<50 {
                group.addTask {
                    let run = RunIdentifier(unchecked: "run-\(number)")
                    let fleet = FleetName(unchecked: "fleet-\(number)")
                    for version in 0..<4 {
                        try await journal.append(
                            JournalAppend(
                                run, after: Int64(version), epoch: epoch, ["\(number).\(version)"],
                                claim: version == 0 ? .take(fleet) : nil))
                    }
                }
            }
            try await group.waitForAll()
        }
        for number in 0..<50 {
            let events = try await journal.events(
                of: RunIdentifier(unchecked: "run-\(number)"), after: 0, limit: 9)
            #expect(events.map(\.text) == (0..<4).map { "\(number).\($0)" })
        }
    }
}

extension LeaderLease {
    /// Takes the lead for the rest of the test.
    func keepingLead(of holder: String) async throws -> Epoch {
        let epoch = try await acquire(holder: holder)
        keptLeases.withLock { $0.append(self) }
        return epoch
    }
}

/// A lease gives the lead up when it is dropped; these are dropped with the process.
private let keptLeases = Mutex<[any LeaderLease]>([])
