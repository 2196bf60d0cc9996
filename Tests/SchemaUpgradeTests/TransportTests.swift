// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import SchemaUpgrade

/// A connection to another machine in clear is refused unless the plan allows it; then it is a warning.
@Suite struct TransportTests {
    @Test func inClearToAnotherMachineIsAnErrorUnlessThePlanAllowsIt() {
        let refused = PreflightQuestion.transport(isInClear: true, mayBe: false)
        #expect(refused.map(\.severity) == [.error])
        #expect(refused.first?.advice?.contains("tls: optional") == true)
        #expect(
            PreflightQuestion.transport(isInClear: true, mayBe: true).map(\.severity)
                == [.warning])
        #expect(PreflightQuestion.transport(isInClear: false, mayBe: false).isEmpty)
    }
}
