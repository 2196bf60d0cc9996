// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@Suite struct PhaseTests {
    @Test func phasesFollowEachOtherInTheOrderOfARun() {
        let words = [
            "preflight", "stage", "read-only", "drain", "migrate", "rollout", "verify", "lift",
            "finish",
        ]
        #expect(Phase.allCases.map(\.rawValue) == words)
        #expect(Phase.allCases.shuffled().sorted() == Phase.allCases)
        var walked: [Phase] = []
        var phase: Phase? = .preflight
        while let current = phase {
            walked.append(current)
            phase = current.next
        }
        #expect(walked == Phase.allCases)
    }

    @Test func theWriteWindowGoesFromReadOnlyToLift() {
        #expect(
            Phase.allCases.filter(\.isInWriteWindow) == [
                .readOnly, .drain, .migrate, .rollout, .verify, .lift,
            ])
    }
}
