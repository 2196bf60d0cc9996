// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Testing
import UpgradeModel

@Suite struct PathTests {
    @Test
    func aPathIsTheSameForEverybody() {
        let digest = Digest(bytes: Array(repeating: 0xAB, count: 32))
        let run = RunIdentifier(unchecked: "r1")
        #expect(
            [
                Path.health, Path.metrics, Path.directive, Path.status, Path.nodes, Path.runs,
                Path.blob(digest), Path.run(run), Path.requests(run), Path.stream(run),
                Path.journal(run),
            ] == [
                "/healthz", "/metrics", "/v1/node/directive", "/v1/node/status", "/v1/nodes",
                "/v1/runs",
                "/v1/blobs/" + String(repeating: "ab", count: 32), "/v1/runs/r1",
                "/v1/runs/r1/requests", "/v1/runs/r1/stream", "/v1/runs/r1/journal",
            ])
        let query = DirectiveQuery(epoch: Epoch(rawValue: 3), revision: 17, wait: .seconds(30))
        #expect(query.text == "epoch=3&revision=17&wait=30000")
    }
}
