// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import UpgradeModel

/// The stored form of a setting: `mode.json`, version 1.
///
/// A gate that starts takes it up, so that `kill -9` while closed stays closed. An application may read it as well:
/// `readOnly`, `retryAfterSeconds` and `message` are for its banner.
struct ModeFile: Codable, Hashable {
    var version = 1
    var readOnly: Bool
    var readsHeld: Bool
    var retryAfterSeconds: Int64
    var message: String
    var writes: Rule
    var reads: Rule
    /// Absent: reads of those who have a session are reads like others.
    var sessionReads: Rule?

    struct Rule: Codable, Hashable {
        /// `open`, `hold` or `refuse`; for reads `pass` or `hold`.
        var kind: String
        var atMost: Int?
        var forMilliseconds: Int64?
        var retryAfterMilliseconds: Int64?
    }

    init(_ setting: GateSetting) {
        readOnly = !setting.writes.isOpen
        readsHeld = setting.readHold != nil
        message = ""
        switch setting.writes {
        case .open: writes = Rule(kind: "open")
        case .hold(let hold): writes = Rule(hold)
        case .refuse(let retryAfter, let message):
            writes = Rule(kind: "refuse", retryAfterMilliseconds: retryAfter.milliseconds)
            self.message = message
        }
        reads = setting.readHold.map { Rule($0) } ?? Rule(kind: "pass")
        sessionReads = setting.sessionReadHold.map { Rule($0) }
        let retryAfter = writes.retryAfterMilliseconds ?? reads.retryAfterMilliseconds ?? 0
        retryAfterSeconds =
            retryAfter == 0
            ? 0
            : Refusal(.readOnly, retryAfter: Span(milliseconds: retryAfter)).retryAfterSeconds
    }

    /// - Returns: `nil` when the file is of another version or its values make no setting.
    var setting: GateSetting? {
        guard version == 1 else { return nil }
        let writes: WriteAdmission
        switch self.writes.kind {
        case "open": writes = .open
        case "hold":
            guard let hold = self.writes.hold else { return nil }
            writes = .hold(hold)
        case "refuse":
            guard let retryAfter = self.writes.retryAfterMilliseconds else { return nil }
            writes = .refuse(retryAfter: Span(milliseconds: retryAfter), message: message)
        default: return nil
        }
        var setting = GateSetting(writes: writes)
        switch self.reads.kind {
        case "pass": break
        case "hold":
            guard let hold = self.reads.hold else { return nil }
            setting.readHold = hold
        default: return nil
        }
        if let sessionReads {
            guard sessionReads.kind == "hold", let hold = sessionReads.hold else { return nil }
            setting.sessionReadHold = hold
        }
        return setting
    }

    var encoded: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        // Strings, integers and booleans: encoding them cannot fail.
        guard let data = try? encoder.encode(self) else { preconditionFailure("a mode encodes") }
        return Array(data) + [10]
    }

    static func decode(_ bytes: [UInt8]) -> ModeFile? {
        try? JSONDecoder().decode(ModeFile.self, from: Data(bytes))
    }
}

extension ModeFile.Rule {
    fileprivate init(_ hold: HoldLimits) {
        self.init(
            kind: "hold", atMost: hold.atMost, forMilliseconds: hold.duration.milliseconds,
            retryAfterMilliseconds: hold.retryAfter.milliseconds)
    }

    fileprivate var hold: HoldLimits? {
        guard let atMost, let forMilliseconds, let retryAfterMilliseconds else { return nil }
        return HoldLimits(
            atMost: atMost, duration: Span(milliseconds: forMilliseconds),
            retryAfter: Span(milliseconds: retryAfterMilliseconds))
    }
}
