// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@Suite struct RunStateTests {
    @Test func exitCodesAreThoseThatOperatorsKnow() {
        let codes = RunState.allCases.map {
            "\($0.rawValue) \($0.exitCode.map(String.init) ?? "-")"
        }
        #expect(
            codes.sorted() == [
                "awaiting-approval 5", "done 0", "paused -", "refused 3", "rolled-back 4",
                "rolling-back -", "running -", "waiting 5",
            ])
    }

    @Test func onlyAnEndedRunHasAFinalWord() {
        #expect(RunState.allCases.filter(\.isEnded) == [.done, .rolledBack, .refused])
    }
}
