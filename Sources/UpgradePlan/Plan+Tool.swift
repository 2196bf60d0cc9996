// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension Plan {
    /// The application's own migration tool: an action that runs it from the staged release on one node, behind the fence.
    public struct Tool: Hashable, Sendable {
        /// Where the tool keeps what it has applied.
        public enum Ledger: Hashable, Sendable {
            case django, rails, alembic, flyway, prisma, frappe
            /// One column of text, an entry a row.
            case query(String)

            public static let words: [(String, Ledger)] = [
                ("django", .django), ("rails", .rails), ("alembic", .alembic),
                ("flyway", .flyway), ("prisma", .prisma), ("frappe", .frappe),
            ]
        }

        /// What follows when the tool has failed and something is other than before.
        public enum OnPartly: String, Hashable, Sendable, CaseIterable {
            /// It is run again, three times in all: for tools that go on where they were.
            case again
            /// The run turns back, by `revert_with`.
            case back
            /// The run stops and waits.
            case person
        }

        public let action: ActionName
        /// `nil`: the first node of the canary's batch.
        public let node: NodeName?
        public let ledger: Ledger
        /// The action that puts back what the ledger was before; `nil`: there is no way back from what the tool has done.
        public let revert: ActionName?
        /// What the tool does before the window, while the old release is served and written to.
        public let expand: ActionName?
        /// What it does after the lift.
        public let contract: ActionName?
        /// What says, in stage, what the tool would do.
        public let preview: ActionName?
        public let onPartly: OnPartly
        /// The role that the tool logs in as; `nil`: the owner of the application's tables.
        public let role: String?
        /// How long it may take; `nil`: as long as the phase.
        public let timeout: Span?

        public init(
            action: ActionName, node: NodeName? = nil, ledger: Ledger, revert: ActionName? = nil,
            expand: ActionName? = nil, contract: ActionName? = nil, preview: ActionName? = nil,
            onPartly: OnPartly, role: String? = nil, timeout: Span? = nil
        ) {
            self.expand = expand
            self.contract = contract
            self.preview = preview
            self.action = action
            self.node = node
            self.ledger = ledger
            self.revert = revert
            self.onPartly = onPartly
            self.role = role
            self.timeout = timeout
        }

        /// All actions that its node has to have.
        public var actions: [ActionName] {
            [action] + [revert, expand, contract, preview].compactMap { $0 }
        }

        /// Whether it runs outside the window as well, or only says what it would do.
        public var runsUnfenced: Bool { expand != nil || contract != nil || preview != nil }
    }
}
