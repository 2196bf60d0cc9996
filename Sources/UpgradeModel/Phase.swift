// SPDX-License-Identifier: Apache-2.0

/// A part of a run, in the order in which a run goes through them.
///
/// A phase begins when the one before has been proved complete on every node it names. The raw values
/// are the words of plans, of the wire and of the journal.
public enum Phase: String, CaseIterable, Comparable, Codable, Sendable, CustomStringConvertible {
    /// Looks for everything that would make a later phase fail. Changes nothing.
    case preflight
    /// New release on disk, verified and warm on every node; `expand` migrations.
    case stage
    /// Gates close, then the fence goes up. The write window begins here.
    case readOnly = "read-only"
    /// Write requests end, and the census proves that no writer is left.
    case drain
    /// The `switch` migrations, once.
    case migrate
    /// Canary, then batches: activate, run actions, check health, flush caches.
    case rollout
    /// Checks on the new release before anyone writes.
    case verify
    /// Fence down, gates open. The point of no return, and the end of the write window.
    case lift
    /// `contract` migrations, old releases pruned, report.
    case finish

    public var description: String { rawValue }

    /// The phase that follows, `nil` after `finish`.
    public var next: Phase? {
        let following = position + 1
        return following < Phase.allCases.count ? Phase.allCases[following] : nil
    }

    /// Whether writes are closed during this phase, so that whatever it waits for, writers wait for.
    public var isInWriteWindow: Bool { (Phase.readOnly...Phase.lift).contains(self) }

    public static func < (left: Phase, right: Phase) -> Bool { left.position < right.position }

    private var position: Int {
        switch self {
        case .preflight: 0
        case .stage: 1
        case .readOnly: 2
        case .drain: 3
        case .migrate: 4
        case .rollout: 5
        case .verify: 6
        case .lift: 7
        case .finish: 8
        }
    }
}
