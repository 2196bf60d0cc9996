// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

/// What tests of the gate ask an agent for, and what it says of it.
extension FakeCoordinator {
    /// A directive of a run that wants nothing but the gate so.
    func say(_ revision: Int64, _ writes: WriteAdmission = .open) {
        say(
            NodeAgentTests.directive(revision) {
                $0.run = RunIdentifier(unchecked: "run-7")
                $0.writes = writes
            })
    }

    /// What the agent has found out under that directive about whether its gate is asked, once it has tried.
    func proof(_ revision: Int64, _ writes: WriteAdmission.Kind = .open) async throws -> GateProof {
        let status = try await self.status {
            $0.revision == revision && $0.gate.writes == writes
                && ($0.gate.proof.map { $0.state != .waiting } ?? false)
        }
        return try #require(status.gate.proof)
    }
}
