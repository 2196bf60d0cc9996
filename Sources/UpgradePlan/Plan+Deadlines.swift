// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension Plan {
    /// How long each phase may take before it has failed.
    ///
    /// `drain` has its own timeout, and `rollout` its health deadline for each batch: ask
    /// `deadline(of:)`, which knows them all. Waiting for an approval does not count.
    public struct Deadlines: Hashable, Sendable {
        public let preflight: Span
        public let stage: Span
        public let readOnly: Span
        public let migrate: Span
        public let verify: Span
        public let lift: Span
        public let finish: Span

        public init(
            preflight: Span = .minutes(1),
            stage: Span = .minutes(10),
            readOnly: Span = .seconds(30),
            migrate: Span = .minutes(10),
            verify: Span = .minutes(1),
            lift: Span = .minutes(1),
            finish: Span = .minutes(10)
        ) {
            let all = [preflight, stage, readOnly, migrate, verify, lift, finish]
            precondition(all.allSatisfy(Limits.deadline.contains), "deadline out of range")
            self.preflight = preflight
            self.stage = stage
            self.readOnly = readOnly
            self.migrate = migrate
            self.verify = verify
            self.lift = lift
            self.finish = finish
        }
    }

    /// How long a phase may take; for `rollout`, how long each batch may.
    public func deadline(of phase: Phase) -> Span {
        switch phase {
        case .preflight: deadlines.preflight
        case .stage: deadlines.stage
        case .readOnly: deadlines.readOnly
        case .drain: drain.timeout
        case .migrate: deadlines.migrate
        case .rollout: rollout.health.deadline
        case .verify: deadlines.verify
        case .lift: deadlines.lift
        case .finish: deadlines.finish
        }
    }
}
