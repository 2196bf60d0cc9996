// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension Plan {
    /// An action that runs before or after a phase.
    ///
    /// A hook that fails fails its phase. A hook before `lift` is inside the write window, one after it
    /// is past the point of no return.
    public struct Hook: Hashable, Sendable {
        /// On which side of its phase a hook runs.
        public enum Moment: String, Hashable, Sendable, CaseIterable {
            /// Once the phase before has ended, before anything of this one.
            case before
            /// Once the phase has done its work; it ends with the hook.
            case after
        }

        /// Where the action runs.
        public enum Target: Hashable, Sendable {
            case everyNode
            /// The first node of the run, by name.
            case oneNode
            case node(NodeName)
        }

        public let moment: Moment
        public let phase: Phase
        public let action: ActionName
        public let target: Target

        public init(
            _ moment: Moment, _ phase: Phase, action: ActionName, target: Target = .everyNode
        ) {
            precondition(moment != .before || phase != .preflight, "no hook runs before preflight")
            self.moment = moment
            self.phase = phase
            self.action = action
            self.target = target
        }
    }
}
