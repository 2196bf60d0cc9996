// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The nodes of a run whose directives may be others after an event.
///
/// With batches of one, each batch begins with an event of its own: were every node looked at for each of them, the time of a
/// rollout would grow with the square of the fleet.
enum AffectedNodes: Hashable {
    case some(Set<NodeName>)
    case everyMember

    mutating func formUnion(_ other: AffectedNodes) {
        if case .some(let left) = self, case .some(let right) = other {
            if !right.isEmpty { self = .some(left.union(right)) }
        } else {
            self = .everyMember
        }
    }
}

extension Run {
    /// Asked before the event is applied.
    func nodesAffected(by event: RunEvent) -> AffectedNodes {
        switch event {
        // Whether reads are held on the way back depends on what the schema is.
        case .databaseTaskEnded where direction == .back: .everyMember
        // A fence that is raised once more may find others under way than the one before it.
        case .databaseTaskEnded(let ended)
        where ended.kind == .raiseFence && asking.contains(where: { $0 is CensusStep }):
            .everyMember
        // Nobody's reads are held while it waits.
        case .paused where current?.definition is CensusStep: .everyMember
        case .resumed where current?.definition is CensusStep: .everyMember
        case .nodeReached, .nodeSurveyed, .nodeFailed, .passOffered, .toolEnded,
            .databaseTaskStarted, .databaseTaskEnded, .databaseLeftOut,
            .paused, .resumed, .approved, .aborted, .drainCutShort, .oldReleaseSeen:
            .some([])
        // The migration tool's node may be another one.
        case .nodeQuarantined where plan.hasTool: .everyMember
        case .nodeReadmitted where plan.hasTool: .everyMember
        case .nodeTakenOff where plan.hasTool: .everyMember
        case .nodeQuarantined(let trouble): .some([trouble.node])
        case .nodeReadmitted(let fact), .nodeJoined(let fact), .nodeHeardAgain(let fact):
            .some([fact.node])
        case .stepBegan(let began): nodesAffected(by: began)
        case .nodeTakenOff(let taken): .some([taken.node])
        case .created, .retried, .mended, .claimed, .schemaAccepted, .turnedForward, .turnedBack,
            .stopped, .standbySeen, .ended:
            .everyMember
        }
    }

    private func nodesAffected(by began: StepBegan) -> AffectedNodes {
        // What is asked only while a step is current is over now.
        if let current, type(of: current.definition).asksWhileCurrent { return .everyMember }
        // On the way back, directives say how far it has come.
        guard began.direction == .forward,
            let definition = StepCatalog.definition(of: began.step, in: began.phase)
        else { return .everyMember }
        return switch definition.audience(in: self) {
        case .nobody: .some([])
        case .named: .some(Set(definition.named(in: self)))
        case .everyMember: .everyMember
        }
    }
}
