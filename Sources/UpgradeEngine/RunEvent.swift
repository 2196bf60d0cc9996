// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A fact of a run. The only thing that is stored; a run is folded from them.
public enum RunEvent: Hashable, Sendable {
    case created(RunCreated)
    case stepBegan(StepBegan)
    /// What a node was before the run touched it.
    case nodeSurveyed(NodeSurveyed)
    /// A node is what the current step asks for.
    case nodeReached(NodeFact)
    /// A node failed the current step.
    case nodeFailed(NodeTrouble)
    /// A node is kept out of service, and the run goes on without it.
    case nodeQuarantined(NodeTrouble)
    /// A quarantined node is what it should be, and takes part again.
    case nodeReadmitted(NodeFact)
    /// A node that the plan selects appeared during the run; it is quarantined until it is upgraded.
    case nodeJoined(NodeFact)
    /// The drain's time was over with write requests still in flight on these nodes; the census ends their transactions.
    case drainCutShort(DrainCutShort)
    /// Something of the old release ran on a node after the lift; its agent has ended it.
    case oldReleaseSeen(OldReleaseSeen)
    /// The node of the migration tool has made a secret.
    case passOffered(PassOffered)
    /// The migration tool, or the one that undoes, has ended on its node.
    case toolEnded(ToolEnded)
    case databaseTaskStarted(DatabaseTaskFact)
    case databaseTaskEnded(DatabaseTaskEnded)
    /// The migration of a database has failed, and the run goes on without it.
    case databaseLeftOut(DatabaseLeftOut)
    /// The frozen standby is not what it was, or is again.
    case standbySeen(StandbySeen)
    case approved(Approved)
    case paused(RequestStamp)
    case resumed(RequestStamp)
    case aborted(RequestStamp)
    case retried(RequestStamp)
    /// Other down files count from here on, and the step is tried again.
    case mended(Mended)
    /// A person says what was done by hand, and the step is tried again.
    case claimed(Claimed)
    /// A person says that a node is off: nothing of it serves, and nothing is awaited from it.
    case nodeTakenOff(NodeTakenOff)
    /// A node that was said to be off has been heard.
    case nodeHeardAgain(NodeFact)
    /// A person leaves the schema as it is, although it is not as it was before.
    case schemaAccepted(RequestStamp)
    /// From here on, a run that was going back goes forward again.
    case turnedForward(TurnedForward)
    /// From here on, what was done is undone in reverse order.
    case turnedBack(TurnedBack)
    /// Stopped, waiting for a person.
    case stopped(Stopped)
    case ended(Ended)
}

/// An event with the time and the leader that stored it.
public struct RecordedEvent: Hashable, Sendable {
    public var at: Instant
    public var epoch: Epoch
    public var event: RunEvent

    public init(at: Instant, epoch: Epoch, event: RunEvent) {
        self.at = at
        self.epoch = epoch
        self.event = event
    }
}

public struct RunCreated: Hashable, Codable, Sendable {
    public var run: RunIdentifier
    public var fleet: FleetName
    /// The plan as written; it is parsed again whenever the run is folded.
    public var plan: String
    public var planFile: String
    /// SHA-256 over plan, manifest and migrations: what was approved is what is executed.
    public var digest: Digest
    public var release: ReleaseReference
    /// Migration files in order, as blobs.
    public var migrations: [MigrationReference]
    /// The nodes that the plan selected when the run was created, sorted.
    public var nodes: [NodeName]
    public var by: OperatorName
    /// The operator's own identifier of the request, so that the same request twice is one run.
    public var request: String
    /// Nodes that an earlier run of the fleet had to leave quarantined, sorted; they stay so until they are upgraded.
    public var quarantined: [NodeName]?

    public init(
        run: RunIdentifier, fleet: FleetName, plan: String, planFile: String, digest: Digest,
        release: ReleaseReference, migrations: [MigrationReference], nodes: [NodeName],
        by: OperatorName, request: String, quarantined: [NodeName]? = nil
    ) {
        self.run = run
        self.fleet = fleet
        self.plan = plan
        self.planFile = planFile
        self.digest = digest
        self.release = release
        self.migrations = migrations
        self.nodes = nodes
        self.by = by
        self.request = request
        self.quarantined = quarantined
    }
}

public struct MigrationReference: Hashable, Codable, Sendable {
    public var name: String
    public var digest: Digest
    /// The label of its database; `nil` where the plan has one.
    public var database: DatabaseName?

    public init(name: String, digest: Digest, database: DatabaseName? = nil) {
        self.name = name
        self.digest = digest
        self.database = database
    }

    func isSameFile(as other: MigrationReference) -> Bool {
        name == other.name && database == other.database
    }
}

public enum Direction: String, Codable, Sendable { case forward, back }

public struct StepBegan: Hashable, Codable, Sendable {
    public var direction: Direction
    public var index: Int
    public var phase: Phase
    public var step: Step
}

public struct NodeSurveyed: Hashable, Codable, Sendable {
    public var node: NodeName
    public var active: ActiveRelease?
    public var agentVersion: String
    /// What on the node would stand in the way of what the plan asks, with figures; findings that do not stop the run.
    public var warnings: [String]?
    /// The node's own addresses, as a database sees them.
    public var addresses: [String]? = nil
}

public struct NodeFact: Hashable, Codable, Sendable {
    public var node: NodeName
    /// What its gate has done since it closed, of a node whose gate is open again. `nil` otherwise, and in older journals.
    public var gate: GateFigures?
    /// Connections of the old release that were open still when it was silenced; `nil` for none, and in older journals.
    public var cut: Int?
    /// The TCP connections of the release whose processes it has frozen, as ``Silence/connections`` has them; `nil` for none, and in
    /// older journals.
    public var connections: [String]? = nil
}

public struct NodeTrouble: Hashable, Codable, Sendable {
    public var node: NodeName
    public var reason: String
}

public struct DrainCutShort: Hashable, Codable, Sendable {
    public var nodes: [NodeName]
}

public struct OldReleaseSeen: Hashable, Codable, Sendable {
    public var node: NodeName
    public var release: ReleaseName
    public var late: LateProcesses
}

public struct PassOffered: Hashable, Codable, Sendable {
    public var node: NodeName
    public var pass: PassOffer
}

public struct ToolEnded: Hashable, Codable, Sendable {
    public var task: TaskIdentity
    public var state: TaskOutcome.State
    /// The last of what it has said.
    public var output: String
    /// How long it ran; `nil` when nobody saw the end.
    public var duration: Span?
    /// What it would do, where that was all that it was asked.
    public var preview: String?
    /// The label of the database that it migrates; `nil` where the plan has one, and in older journals.
    public var database: DatabaseName? = nil
}

public struct DatabaseTaskFact: Hashable, Codable, Sendable {
    public var kind: DatabaseTask.Kind
    public var attempt: Int
    /// The label of the database; `nil` where the plan has one.
    public var database: DatabaseName?
}

public struct DatabaseTaskEnded: Hashable, Codable, Sendable {
    public enum Result: String, Codable, Sendable {
        case done, failed
        /// The leader that performed it is gone; the next attempt finds out.
        case lost
    }

    public var kind: DatabaseTask.Kind
    public var attempt: Int
    public var result: Result
    public var report: DatabaseReport?
    public var failure: DatabaseFailure?
    /// The label of the database; `nil` where the plan has one.
    public var database: DatabaseName?
}

/// A database that is left out: its fence stays up, and its site is closed.
public struct DatabaseLeftOut: Hashable, Codable, Sendable {
    public var database: DatabaseName
    /// When it has failed; `nil` for one that an earlier run has left out.
    public var phase: Phase?
    /// What has failed, for people.
    public var reason: String
}

/// What was found of the frozen standby in the window.
public struct StandbySeen: Hashable, Codable, Sendable {
    public enum State: String, Codable, Sendable {
        /// It answers again, as it was frozen.
        case frozen
        /// It does not answer.
        case silent
        /// It is not frozen any more, and no way back.
        case thawed
        /// Something else that the run should not go on with.
        case trouble
    }

    public var state: State
    /// Of a trouble: which kind, by the code of its failure.
    public var code: String?
    /// What was found, for people; `nil` where it answers again.
    public var message: String?
}

/// Who asked, and by which request.
public struct RequestStamp: Hashable, Codable, Sendable {
    public var request: String
    public var by: OperatorName
    public var reason: String?

    public init(request: String, by: OperatorName, reason: String?) {
        self.request = request
        self.by = by
        self.reason = reason
    }
}

public struct Approved: Hashable, Codable, Sendable {
    public var phase: Phase
    public var stamp: RequestStamp

    private enum CodingKeys: String, CodingKey {
        case phase
        case stamp = "mark"
    }
}

public struct TurnedBack: Hashable, Codable, Sendable {
    public var reason: String
    /// Who asked for it; `nil` when the plan's policy did.
    public var stamp: RequestStamp?
    /// What to do next, where that can be said.
    public var advice: String?

    private enum CodingKeys: String, CodingKey {
        case reason, advice
        case stamp = "mark"
    }
}

public struct Stopped: Hashable, Codable, Sendable {
    public var reason: String
    public var advice: String
}

public struct Ended: Hashable, Codable, Sendable {
    public enum Outcome: String, Codable, Sendable {
        case done
        case rolledBack = "rolled-back"
        case refused
    }

    public var outcome: Outcome
}

/// Down files that count instead of those that the run was started with, or where it had none.
public struct Mended: Hashable, Codable, Sendable {
    public var files: [MigrationReference]
    public var stamp: RequestStamp

    private enum CodingKeys: String, CodingKey {
        case files
        case stamp = "mark"
    }
}

public struct Claimed: Hashable, Codable, Sendable {
    public var claims: [MigrationClaim]
    public var stamp: RequestStamp

    private enum CodingKeys: String, CodingKey {
        case claims
        case stamp = "mark"
    }
}

public struct NodeTakenOff: Hashable, Codable, Sendable {
    public var node: NodeName
    public var stamp: RequestStamp

    private enum CodingKeys: String, CodingKey {
        case node
        case stamp = "mark"
    }
}

public struct TurnedForward: Hashable, Codable, Sendable {
    /// The first step that is done again.
    public var step: Step
    public var stamp: RequestStamp

    private enum CodingKeys: String, CodingKey {
        case step
        case stamp = "mark"
    }
}
