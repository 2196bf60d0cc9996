// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@Suite struct RunStateTests {
    @Test func onlyAnEndedRunHasAFinalWord() {
        #expect(RunState.allCases.filter(\.isEnded) == [.done, .rolledBack, .refused])
    }
}
