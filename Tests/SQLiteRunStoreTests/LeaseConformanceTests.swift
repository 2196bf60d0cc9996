// SPDX-License-Identifier: Apache-2.0

import RunStore
import Testing
import UpgradeModel

@Suite struct LeaseConformanceTests {
    @Test(arguments: Implementation.allCases)
    func raisesTheEpochEachTimeThatItIsTaken(_ implementation: Implementation) async throws {
        let stores = try await implementation.open()
        var epochs: [Int64] = []
        for number in 1...3 {
            let lease = stores.lease()
            epochs.append(try await lease.acquire(holder: "process \(number)").rawValue)
            await lease.release()
        }
        #expect(epochs == [1, 2, 3])
    }

    @Test(arguments: Implementation.allCases)
    func isOneProcesssAtATimeAndTellsTheSecondWhoHasIt(_ implementation: Implementation)
        async throws
    {
        let stores = try await implementation.open()
        let first = stores.lease()
        let second = stores.lease()
        let epoch = try await first.acquire(holder: "web1, process 7, since noon")
        await #expect(throws: StoreFailure.leaderHeld(by: "web1, process 7, since noon")) {
            try await second.acquire(holder: "web2")
        }
        try await stores.journal.append(
            JournalAppend(run1, after: 0, epoch: epoch, ["a"], claim: .take(web)))
        await first.release()
        #expect(try await second.acquire(holder: "web2") == epoch.next)
        await second.release()
    }

    @Test(arguments: Implementation.allCases)
    func givenUpByOneThatDoesNotHaveItStaysWithTheOneThatHas(_ implementation: Implementation)
        async throws
    {
        let stores = try await implementation.open()
        let first = stores.lease()
        let second = stores.lease()
        _ = try await first.acquire(holder: "one")
        await second.release()
        await #expect(throws: StoreFailure.leaderHeld(by: "one")) {
            try await second.acquire(holder: "two")
        }
        await first.release()
    }
}
