// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradePlan

@Suite struct BatchesTests {
    @Test(arguments: [
        Row(nodes: 1, expected: [1]),
        Row(nodes: 3, expected: [1, 1, 1]),
        Row(nodes: 3, canary: 3, expected: [3]),
        Row(nodes: 3, canary: 9, expected: [3]),
        Row(nodes: 10, canary: 2, batches: [.nodes(5)], expected: [2, 5, 3]),
        Row(nodes: 10, batches: [.percent(25)], expected: [1, 3, 3, 3]),
        Row(nodes: 3, batches: [.percent(1)], expected: [1, 1, 1]),
        Row(nodes: 10, batches: [.percent(100)], expected: [1, 9]),
        Row(
            nodes: 40, batches: [.nodes(1), .nodes(5), .percent(20)],
            expected: [1, 1, 5, 8, 8, 8, 8, 1]),
        Row(
            nodes: 10, canary: 4, batches: [.percent(50)], bound: .nodes(2),
            expected: [2, 2, 2, 2, 2]),
        Row(
            nodes: 11, batches: [.percent(50)], bound: .percent(30), expected: [1, 3, 3, 3, 1]),
        Row(nodes: 3, batches: [.nodes(2)], bound: .percent(1), expected: [1, 1, 1]),
    ])
    func sizesFollowTheCanaryTheListItsLastValueAndTheBound(_ row: Row) throws {
        let names = (0..<row.nodes).map { NodeName(unchecked: "node-\(1000 + $0)") }
        let batches = try row.rollout.batches(of: names)
        #expect(batches.map(\.count) == row.expected)
        #expect(batches.flatMap { $0 } == names)
    }

    @Test func theOrderOfTheArgumentAndRepeatedNamesChangeNothing() throws {
        let names = ["web-3", "web-1", "web-2", "web-1"].map { NodeName(unchecked: $0) }
        let batches = try Row(nodes: 3, expected: []).rollout.batches(of: names)
        #expect(batches.map { $0.map(\.rawValue) } == [["web-1"], ["web-2"], ["web-3"]])
    }

    @Test func noNodeAtAllIsAnError() {
        #expect(throws: EmptySelection()) {
            try Row(nodes: 0, expected: []).rollout.batches(of: [])
        }
    }

    @Test
    func everyNodeIsInExactlyOneBatchAndNoBatchIsEmptyOrAboveTheBound() throws {
        var random = SeededGenerator(seed: 0x5EED)
        for _ in 0..<500 {
            let count = Int.random(in: 1...300, using: &random)
            let sizes = (0..<Int.random(in: 1...4, using: &random)).map { _ in size(&random) }
            let bound = Bool.random(using: &random) ? size(&random) : nil
            let row = Row(
                nodes: count, canary: Int.random(in: 1...20, using: &random), batches: sizes,
                bound: bound, expected: [])
            let names = (0..<count).map { NodeName(unchecked: "n\(1000 + $0)") }
            let batches = try row.rollout.batches(of: names.shuffled(using: &random))
            let largest = bound?.roundedDown(of: count) ?? count
            #expect(batches.flatMap { $0 } == names, "\(row)")
            #expect(batches.allSatisfy { (1...largest).contains($0.count) }, "\(row)")
        }
    }

    private func size(_ random: inout SeededGenerator) -> BatchSize {
        Bool.random(using: &random)
            ? .nodes(Int.random(in: 1...50, using: &random))
            : .percent(Int.random(in: 1...100, using: &random))
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var nodes: Int
        var canary = 1
        var batches: [BatchSize] = [.nodes(1)]
        var bound: BatchSize?
        var expected: [Int]

        var rollout: Plan.Rollout {
            Plan.Rollout(
                health: .init(check: HealthCheckName(unchecked: "page")), canary: canary,
                batches: batches, maxUnavailable: bound)
        }

        var testDescription: String {
            "\(nodes) nodes, canary \(canary), \(batches), bound \(bound?.description ?? "none")"
        }
    }
}

/// SplitMix64: a small generator whose sequence depends on its seed alone.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
