// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What the gate does with requests.
///
/// Writes and reads are set together, so that no request sees one half of a change.
public struct GateSetting: Hashable, Sendable {
    /// A hold is capped by ``GateConfiguration/longestHold``. Of a message, control characters are dropped and 512 bytes
    /// at most are sent.
    public var writes: WriteAdmission
    /// `nil`: reads pass, and never leave the proxy. Otherwise the proxy asks for reads as well, and they wait: for a
    /// migration that the old code does not survive.
    public var readHold: HoldLimits?

    /// `nil`: the reads of those who have a session are reads like others. Otherwise they wait, since frameworks write
    /// sessions on page views; the proxy's snippet knows the cookie's name.
    public var sessionReadHold: HoldLimits?

    public init(
        writes: WriteAdmission, readHold: HoldLimits? = nil, sessionReadHold: HoldLimits? = nil
    ) {
        self.writes = writes
        self.readHold = readHold
        self.sessionReadHold = sessionReadHold
    }

    /// Everything passes: the state outside an upgrade.
    public static let open = GateSetting(writes: .open)
}

extension GateSetting {
    /// The same with every number brought to where arithmetic is safe: what comes from a directive or a file may be anything.
    var bounded: GateSetting {
        var result = self
        switch writes {
        case .open: break
        case .hold(let hold): result.writes = .hold(hold.bounded)
        case .refuse(let retryAfter, let message):
            result.writes = .refuse(retryAfter: retryAfter.bounded, message: message)
        }
        result.readHold = readHold?.bounded
        result.sessionReadHold = sessionReadHold?.bounded
        return result
    }
}

extension HoldLimits {
    fileprivate var bounded: HoldLimits {
        HoldLimits(
            atMost: min(max(0, atMost), 1_000_000), duration: duration.bounded,
            retryAfter: retryAfter.bounded)
    }
}

extension Span {
    /// From nothing to a day.
    fileprivate var bounded: Span { min(max(self, .zero), .minutes(24 * 60)) }
}
