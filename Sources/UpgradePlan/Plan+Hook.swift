// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// On which side of its phase a hook runs.
public enum HookTiming: String, Hashable, Sendable, CaseIterable {
    /// Once the phase before has ended, before anything of this one.
    case before
    /// Once the phase has done its work; it ends with the hook.
    case after
}

extension Plan {
    /// An action that runs before or after a phase.
    ///
    /// A hook that fails fails its phase. A hook before `lift` is inside the write window, one after it
    /// is past the point of no return.
    public struct Hook: Hashable, Sendable {
        /// Where the action runs.
        public enum Target: Hashable, Sendable {
            case everyNode
            /// The first node of the run, by name.
            case oneNode
            case node(NodeName)
        }

        /// When a hook is undone by the run itself, and not only when it turns back.
        public enum Until: String, Hashable, Sendable, CaseIterable {
            /// Once the new release is verified, behind the fence and closed gates: what refuses writes by itself has to be over
            /// when the gates let them through.
            case verify
            /// Once the fence is down, before the gates open: what reads rely on for as long as it stands, and what refuses writes.
            case fence
            /// Once the gates are open.
            case lift
        }

        public let timing: HookTiming
        public let phase: Phase
        public let action: ActionName
        public let target: Target
        /// The action that undoes it, on the nodes on which it has begun: on every way back, and where ``until`` says.
        public let undo: ActionName?
        public let until: Until?

        public init(
            _ timing: HookTiming, _ phase: Phase, action: ActionName, target: Target = .everyNode,
            undo: ActionName? = nil, until: Until? = nil
        ) {
            precondition(timing != .before || phase != .preflight, "no hook runs before preflight")
            self.timing = timing
            self.phase = phase
            self.action = action
            self.target = target
            self.undo = undo
            self.until = until
        }

        /// Whether it runs once the fence is down and the gates are open: from then on nothing is undone.
        public var isPastLift: Bool { phase > .lift || (phase == .lift && timing == .after) }
    }
}
