// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Faults from a seed: the same seed gives the same faults.
struct Disturbance {
    enum Fault {
        case loseMessage, repeatMessage, newLeader, nodesBack
        case nodeLost(NodeName)
        /// Killed after so many effects more.
        case agentDies(NodeName, after: Int)
        case leaderDies(after: Int)
        case databaseFails(DatabaseTask.Kind)
        case request(RequestVerb)
        case toolFails(ToolBehaviour)
        /// A status of long ago arrives now.
        case staleStatus(NodeName)
    }

    private var state: UInt64
    /// Faults that are left; none after that, so that the run can be seen to end.
    private var left: Int
    private let rate: UInt64

    init(seed: UInt64) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        left = 0
        rate = 2 + seed % 9
        left = Int(draw(12))
    }

    private mutating func draw(_ bound: UInt64) -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state % bound
    }

    mutating func end() { left = 0 }

    mutating func pick(of count: Int) -> Int { Int(draw(UInt64(count))) }

    mutating func next(nodes: [NodeName]) -> Fault? {
        guard left > 0, draw(rate) == 0 else { return nil }
        left -= 1
        let node = nodes[pick(of: nodes.count)]
        if left == 0 { return .nodesBack }
        switch draw(14) {
        case 0, 1: return .loseMessage
        case 2: return .repeatMessage
        case 3: return .newLeader
        case 4: return .nodeLost(node)
        case 5: return .nodesBack
        case 6:
            return .databaseFails(
                DatabaseTask.Kind.allCases[pick(of: DatabaseTask.Kind.allCases.count)])
        case 7: return .request(RequestVerb.allCases[pick(of: 6)])
        case 8, 9: return .agentDies(node, after: pick(of: 4))
        case 11:
            let behaviours = [
                ToolBehaviour.failsUnchanged, .failsPartly, .hangs, .interrupted, .done,
            ]
            return .toolFails(behaviours[pick(of: behaviours.count)])
        case 10: return .leaderDies(after: pick(of: 4))
        default: return .staleStatus(node)
        }
    }
}
