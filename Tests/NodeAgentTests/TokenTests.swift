// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Testing
import TestSupport

@testable import NodeAgent

@Suite struct TokenTests {
    @Test func aTokenThatOthersMayReadIsRefusedAndNeverShown() throws {
        let directory = try TemporaryDirectory().path
        try write("top-secret", to: directory + "/token", mode: 0o644)
        #expect(throws: SystemFailure.self) { try readToken(.file(directory + "/token")) }
        do { _ = try readToken(.file(directory + "/token")) } catch {
            #expect(!"\(error)".contains("top-secret"))
        }
        try write("top-secret\n", to: directory + "/token", mode: 0o600)
        #expect("\(try readToken(.file(directory + "/token")))" == "(secret)")
    }
}
