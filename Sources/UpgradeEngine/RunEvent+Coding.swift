// SPDX-License-Identifier: Apache-2.0

/// The stored shape: an object with an explicit `type` and the `version` of that type's shape, beside the fields of its payload.
///
/// A shape that has been stored is decoded for ever: a new one gets a new version, never a new meaning.
extension RunEvent: Codable {
    private enum Keys: String, CodingKey { case type, version }

    private static let currentVersion = 1

    /// The word under `type`, also used in streams and reports.
    public var type: String {
        switch self {
        case .created: "created"
        case .stepBegan: "step-began"
        case .nodeSurveyed: "node-surveyed"
        case .nodeReached: "node-reached"
        case .nodeFailed: "node-failed"
        case .nodeQuarantined: "node-quarantined"
        case .nodeReadmitted: "node-readmitted"
        case .nodeJoined: "node-joined"
        case .drainCutShort: "drain-cut-short"
        case .oldReleaseSeen: "old-release-seen"
        case .passOffered: "pass-offered"
        case .toolEnded: "tool-ended"
        case .databaseTaskStarted: "database-task-started"
        case .databaseTaskEnded: "database-task-ended"
        case .databaseLeftOut: "database-left-out"
        case .standbySeen: "standby-seen"
        case .approved: "approved"
        case .paused: "paused"
        case .resumed: "resumed"
        case .aborted: "aborted"
        case .retried: "retried"
        case .mended: "mended"
        case .claimed: "claimed"
        case .nodeTakenOff: "node-taken-off"
        case .nodeHeardAgain: "node-heard-again"
        case .schemaAccepted: "schema-accepted"
        case .turnedForward: "turned-forward"
        case .turnedBack: "turned-back"
        case .stopped: "stopped"
        case .ended: "ended"
        }
    }

    private var payload: any Encodable {
        switch self {
        case .created(let payload): payload
        case .stepBegan(let payload): payload
        case .nodeSurveyed(let payload): payload
        case .nodeReached(let payload), .nodeReadmitted(let payload), .nodeJoined(let payload),
            .nodeHeardAgain(let payload):
            payload
        case .nodeFailed(let payload), .nodeQuarantined(let payload): payload
        case .drainCutShort(let payload): payload
        case .oldReleaseSeen(let payload): payload
        case .passOffered(let payload): payload
        case .toolEnded(let payload): payload
        case .databaseTaskStarted(let payload): payload
        case .databaseTaskEnded(let payload): payload
        case .databaseLeftOut(let payload): payload
        case .standbySeen(let payload): payload
        case .approved(let payload): payload
        case .paused(let payload), .resumed(let payload), .aborted(let payload),
            .retried(let payload), .schemaAccepted(let payload):
            payload
        case .mended(let payload): payload
        case .claimed(let payload): payload
        case .nodeTakenOff(let payload): payload
        case .turnedForward(let payload): payload
        case .turnedBack(let payload): payload
        case .stopped(let payload): payload
        case .ended(let payload): payload
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(type, forKey: .type)
        try container.encode(RunEvent.currentVersion, forKey: .version)
        try payload.encode(to: encoder)
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        let type = try container.decode(String.self, forKey: .type)
        let version = try container.decode(Int.self, forKey: .version)
        guard version == RunEvent.currentVersion else {
            throw DecodingError.dataCorruptedError(
                forKey: .version, in: container,
                debugDescription:
                    "event \(type) has version \(version), this program knows 1; use a newer one")
        }
        switch type {
        case "created": self = .created(try RunCreated(from: decoder))
        case "step-began": self = .stepBegan(try StepBegan(from: decoder))
        case "node-surveyed": self = .nodeSurveyed(try NodeSurveyed(from: decoder))
        case "node-reached": self = .nodeReached(try NodeFact(from: decoder))
        case "node-failed": self = .nodeFailed(try NodeTrouble(from: decoder))
        case "node-quarantined": self = .nodeQuarantined(try NodeTrouble(from: decoder))
        case "node-readmitted": self = .nodeReadmitted(try NodeFact(from: decoder))
        case "node-joined": self = .nodeJoined(try NodeFact(from: decoder))
        case "drain-cut-short": self = .drainCutShort(try DrainCutShort(from: decoder))
        case "old-release-seen": self = .oldReleaseSeen(try OldReleaseSeen(from: decoder))
        case "pass-offered": self = .passOffered(try PassOffered(from: decoder))
        case "tool-ended": self = .toolEnded(try ToolEnded(from: decoder))
        case "database-task-started":
            self = .databaseTaskStarted(try DatabaseTaskFact(from: decoder))
        case "database-task-ended": self = .databaseTaskEnded(try DatabaseTaskEnded(from: decoder))
        case "database-left-out": self = .databaseLeftOut(try DatabaseLeftOut(from: decoder))
        case "standby-seen": self = .standbySeen(try StandbySeen(from: decoder))
        case "approved": self = .approved(try Approved(from: decoder))
        case "paused": self = .paused(try RequestStamp(from: decoder))
        case "resumed": self = .resumed(try RequestStamp(from: decoder))
        case "aborted": self = .aborted(try RequestStamp(from: decoder))
        case "retried": self = .retried(try RequestStamp(from: decoder))
        case "mended": self = .mended(try Mended(from: decoder))
        case "claimed": self = .claimed(try Claimed(from: decoder))
        case "node-taken-off": self = .nodeTakenOff(try NodeTakenOff(from: decoder))
        case "node-heard-again": self = .nodeHeardAgain(try NodeFact(from: decoder))
        case "schema-accepted": self = .schemaAccepted(try RequestStamp(from: decoder))
        case "turned-forward": self = .turnedForward(try TurnedForward(from: decoder))
        case "turned-back": self = .turnedBack(try TurnedBack(from: decoder))
        case "stopped": self = .stopped(try Stopped(from: decoder))
        case "ended": self = .ended(try Ended(from: decoder))
        default:
            throw DecodingError.dataCorruptedError(
                forKey: .type, in: container, debugDescription: "no such event: \(type)")
        }
    }
}
