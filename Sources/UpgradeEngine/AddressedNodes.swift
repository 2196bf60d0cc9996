// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// The nodes of a run whose directives may be others after an event.
///
/// With batches of one, each batch begins with an event of its own: were every node looked at for each of them, the time of a
/// rollout would grow with the square of the fleet.
enum AddressedNodes: Hashable {
    case some(Set<NodeName>)
    case all

    mutating func formUnion(_ other: AddressedNodes) {
        if case .some(let left) = self, case .some(let right) = other {
            self = .some(left.union(right))
        } else {
            self = .all
        }
    }
}

extension Run {
    /// Asked before the event is applied.
    func nodesAddressed(by event: RunEvent) -> AddressedNodes {
        switch event {
        case .nodeReached, .nodeSurveyed, .nodeFailed, .databaseTaskStarted, .databaseTaskEnded,
            .paused, .resumed, .approved, .aborted, .drainCutShort:
            .some([])
        case .nodeQuarantined(let trouble): .some([trouble.node])
        case .nodeReadmitted(let fact), .nodeJoined(let fact): .some([fact.node])
        case .stepBegan(let began): nodesAddressed(by: began)
        case .created, .retried, .turnedBack, .stopped, .ended: .all
        }
    }

    private func nodesAddressed(by began: StepBegan) -> AddressedNodes {
        // On the way back, directives say how far it has come; and the nodes of a hook are told when it is over.
        guard began.direction == .forward, !isHookInHand else { return .all }
        return switch began.step {
        // From here on nobody opens by itself.
        case .database(.raiseFence): .all
        case .approval, .database, .bake: .some([])
        // The first batch is also the word for nodes that are upgraded outside the batches.
        case .nodes(.upgraded(let batch)) where batch > 0: .some(Set(named(by: began.step)))
        case .nodes, .hook: .all
        }
    }

    private var isHookInHand: Bool {
        if case .hook? = current?.step { true } else { false }
    }
}

extension RunEvent {
    /// Whether another step is in hand after it, or the same one of other nodes, so that the last statuses may say more than
    /// they did.
    var changesWhatIsAsked: Bool {
        switch self {
        case .nodeReached, .nodeSurveyed, .nodeFailed, .databaseTaskStarted, .databaseTaskEnded,
            .paused, .resumed, .approved, .aborted, .drainCutShort:
            false
        case .created, .stepBegan, .nodeQuarantined, .nodeReadmitted, .nodeJoined, .retried,
            .turnedBack, .stopped, .ended:
            true
        }
    }
}
