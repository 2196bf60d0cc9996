// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What a person should know for as long as it is so: it begins and ends with its cause.
public enum NodeAlarm: Hashable, Sendable, CustomStringConvertible {
    /// The gate is open against the directive, because nobody was there to renew it. Until the coordinator is heard.
    case openedByItself(lease: Span)
    /// The gate stays closed without the coordinator. Until it is heard, or somebody breaks the glass.
    case keptClosed(lease: Span)
    /// A person opened the gate. Through restarts, until a person ends it.
    case glassBroken(reason: String)
    /// Nothing answers where the active release should. Until something does.
    case applicationUnreachable(String)

    public var description: String {
        switch self {
        case .openedByItself(let lease):
            "no word from the coordinator within the lease of \(lease): the gate has opened by itself"
        case .keptClosed(let lease):
            "no word from the coordinator within the lease of \(lease), and the migration may have begun: the "
                + "gate stays closed; see `sluice-agent break-glass --help`"
        case .glassBroken(let reason): "break glass: the gate is opened by hand: \(reason)"
        case .applicationUnreachable(let trouble): trouble
        }
    }
}

/// Where the active release should answer, and does not.
struct Unreachable: Hashable {
    var release: ReleaseReference
    var trouble: String
    /// Looks in a row that found nobody: the first may have come between two processes.
    var looks: Int
}

extension NodeEngine {
    /// All that hold now.
    public var alarms: [NodeAlarm] {
        var alarms: [NodeAlarm] = []
        if let reason = memory.brokenGlass {
            alarms.append(.glassBroken(reason: reason))
        } else if hasLeaseExpired, let lease = memory.directive?.lease, gateWanted != .open {
            switch lease.onExpiry {
            case .open: alarms.append(.openedByItself(lease: lease.duration))
            case .keep: alarms.append(.keptClosed(lease: lease.duration))
            }
        }
        if let trouble = applicationTrouble { alarms.append(.applicationUnreachable(trouble)) }
        return alarms
    }

    /// Why the application of the active release cannot be reached, once that is certain.
    var applicationTrouble: String? {
        guard let unreachable, unreachable.looks > 1,
            unreachable.release == host.current?.release
        else { return nil }
        return unreachable.trouble
    }

    mutating func look(at release: ReleaseReference, _ trouble: String?) {
        let looks = unreachable?.release == release ? unreachable?.looks ?? 0 : 0
        unreachable = trouble.map {
            Unreachable(release: release, trouble: String($0.prefix(512)), looks: min(looks, 1) + 1)
        }
    }

    /// Says which alarms have begun and which have ended since the last step.
    mutating func announceAlarms(_ ready: inout NodeReady) {
        let alarms = alarms
        ready.alarms = alarms.filter { !announced.contains($0) }
        ready.endedAlarms = announced.filter { !alarms.contains($0) }
        announced = alarms
    }
}
