// SPDX-License-Identifier: Apache-2.0

public import RunStore
public import UpgradeModel

/// Why a coordinator stops. The process ends and the next one goes on from the journal; nothing was told that is not stored.
public enum CoordinatorFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// What follows from an input could not be stored.
    case notStored(StoreFailure)
    /// The store could not be read, or the lead not taken, at the start.
    case notStarted(StoreFailure)
    /// A stored run is not understood by this program.
    case unreadable(RunIdentifier, String)

    public var description: String {
        switch self {
        case .notStored(let failure): "stopped, because an event was not stored: \(failure.text)"
        case .notStarted(let failure): "cannot start: \(failure.text)"
        case .unreadable(let run, let why):
            "cannot start: the stored events of run \(run) are not understood (\(why)); start the version of sluice that wrote them"
        }
    }
}

extension StoreFailure {
    /// What happened and what to do, for people.
    public var text: String {
        switch self {
        case .conflict(let run, let expected, let actual):
            "run \(run) has \(actual) events where \(expected) were expected: something else writes to this journal; end it, then start again"
        case .superseded(let epoch):
            "another coordinator leads epoch \(epoch.rawValue); this one does nothing more"
        case .fleetHeld(let claim): "run \(claim.run) has the fleet \(claim.fleet)"
        case .leaderHeld(let holder):
            "another coordinator leads: \(holder); end it first, or give this one its own --data directory"
        case .notFound(let what): "\(what) is not there"
        case .rejected(let why), .full(let why), .corrupt(let why), .io(let why): why
        }
    }
}
