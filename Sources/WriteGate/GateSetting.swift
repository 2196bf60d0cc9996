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

    public init(writes: WriteAdmission, readHold: HoldLimits? = nil) {
        self.writes = writes
        self.readHold = readHold
    }

    /// Everything passes: the state outside an upgrade.
    public static let open = GateSetting(writes: .open)
}
