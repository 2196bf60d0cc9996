// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import RunStore
import Synchronization
import UpgradeModel

/// How often one node or operator may send what is stored.
///
/// Each has a number of requests to spend, which fills up again by the second: a fleet's node reports at every step at once, and
/// nobody fills the journal, or keeps the leader busy, by asking without end.
final class RequestRate: Sendable {
    private struct Account {
        var left: Double
        var at: ContinuousClock.Instant
    }

    private let burst: Double
    private let perSecond: Double
    private let accounts = Mutex<[Identity: Account]>([:])

    init(burst: Int, perSecond: Int) {
        self.burst = Double(burst)
        self.perSecond = Double(perSecond)
    }

    /// - Throws: `too-many` when this one has spent what it has.
    func spend(_ identity: Identity, at now: ContinuousClock.Instant = .now) throws(APIError) {
        let isAllowed = accounts.withLock { accounts in
            var account = accounts[identity] ?? Account(left: burst, at: now)
            let seconds =
                Double((now - account.at).components.seconds)
                + Double((now - account.at).components.attoseconds) / 1e18
            account.left = min(burst, account.left + max(0, seconds) * perSecond)
            account.at = now
            let isAllowed = account.left >= 1
            if isAllowed { account.left -= 1 }
            accounts[identity] = account
            return isAllowed
        }
        guard isAllowed else {
            throw APIError(
                .tooMany,
                message:
                    "\(Int(perSecond)) requests of this kind a second are taken, and \(Int(burst)) at once",
                advice: "ask again in a second")
        }
    }
}
