// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import HTTPTypes
import RunStore
import Testing
import UpgradeModel

@testable import ControlServer

@Suite struct RateTests {
    @Test
    func isRefusedOnceWhatOneMayAskAtOnceIsSpentAndOnlyForWhoeverAsksSoOften() throws {
        let rate = RequestRate(burst: 3, perSecond: 2)
        let ada = Identity.operator(OperatorName(unchecked: "ada"))
        let bob = Identity.operator(OperatorName(unchecked: "bob"))
        let began = ContinuousClock.now
        for _ in 0..<3 { try rate.spend(ada, at: began) }
        let refused = #expect(throws: APIError.self) { try rate.spend(ada, at: began) }
        #expect(refused?.status == .tooManyRequests)
        try rate.spend(bob, at: began)
        try rate.spend(ada, at: began + .milliseconds(600))
        #expect(throws: APIError.self) { try rate.spend(ada, at: began + .milliseconds(600)) }
    }

    @Test(arguments: APIError.Code.allCases)
    func hasAStatusOfItsOwnForEveryReasonThereIs(_ code: APIError.Code) {
        #expect(APIError(code, message: "").status != .internalServerError)
    }
}
