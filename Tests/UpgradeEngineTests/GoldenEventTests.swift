// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@testable import UpgradeEngine

/// What has been stored once is decoded for ever. `SLUICE_REGENERATE=1` adds a shape; it never changes one that was released.
@Suite struct GoldenEventTests {
    static let node = NodeName(unchecked: "web-1")
    static let stamp = RequestStamp(
        request: "q1", by: OperatorName(unchecked: "alice"), reason: "lunch")
    static let digest = Digest(bytes: (0..<32).map { UInt8($0) })
    static let reference = ReleaseReference(name: ReleaseName(unchecked: "v2"), manifest: digest)

    static let samples: [RunEvent] = [
        .created(
            RunCreated(
                run: RunIdentifier(unchecked: "20261122-180000-1"),
                fleet: FleetName(unchecked: "guestbook"),
                plan: "fleet: guestbook\n", planFile: "plan.yaml", digest: digest,
                release: reference,
                migrations: [MigrationReference(name: "0001_init.up.sql", digest: digest)],
                nodes: [node],
                by: OperatorName(unchecked: "alice"), request: "q0")),
        .stepBegan(
            StepBegan(
                direction: .forward, index: 7, phase: .rollout, step: .upgraded(batch: 2))),
        .nodeSurveyed(
            NodeSurveyed(
                node: node,
                active: ActiveRelease(
                    release: reference, identity: ActivationIdentity(unchecked: "r0.forward"),
                    cacheGeneration: CacheGeneration(rawValue: 4)), agentVersion: "1.0.0")),
        .nodeReached(NodeFact(node: node)),
        .nodeFailed(NodeTrouble(node: node, reason: "disk full")),
        .nodeQuarantined(NodeTrouble(node: node, reason: "disk full")),
        .nodeReadmitted(NodeFact(node: node)),
        .nodeJoined(NodeFact(node: node)),
        .drainCutShort(DrainCutShort(nodes: [node])),
        .databaseTaskStarted(DatabaseTaskFact(kind: .migrate, attempt: 2)),
        .databaseTaskEnded(
            DatabaseTaskEnded(
                kind: .census, attempt: 1, result: .done,
                report: DatabaseReport(
                    lines: ["no writer is left"], duration: .milliseconds(7),
                    census: CensusProof(
                        transaction: "755", fenceLSN: "0/1A2B3C", stored: digest,
                        ended: ["app idle 3 s"]),
                    warnings: [
                        Diagnostic(
                            .warning, code: "pooler", "a pooler is between", advice: "go direct")
                    ],
                    versions: ["0002"]))),
        .databaseTaskEnded(
            DatabaseTaskEnded(
                kind: .migrate, attempt: 1, result: .failed,
                failure: DatabaseFailure(
                    code: "sql", "0003_split.up.sql:4: division by zero", advice: "mend it",
                    effect: .unknown))),
        .approved(Approved(phase: .lift, stamp: stamp)),
        .paused(stamp), .resumed(stamp), .aborted(stamp), .retried(stamp),
        .turnedBack(TurnedBack(reason: "canary failed", stamp: stamp)),
        .stopped(Stopped(reason: "no down-migration", advice: "write one")),
        .ended(Ended(outcome: .rolledBack)),
        .turnedBack(TurnedBack(reason: "drift", stamp: nil, advice: "correct release.expected")),
        .mended(
            Mended(
                files: [MigrationReference(name: "0001_init.down.sql", digest: digest)],
                stamp: stamp)
        ),
        .claimed(Claimed(claims: [MigrationClaim(version: "0001", state: .undone)], stamp: stamp)),
        .nodeTakenOff(NodeTakenOff(node: node, stamp: stamp)),
        .nodeHeardAgain(NodeFact(node: node)),
        .turnedForward(TurnedForward(step: .braced, stamp: stamp)),
        .passOffered(
            PassOffered(
                node: node,
                pass: PassOffer(
                    task: TaskIdentity(rawValue: "r1/nodes.tool/tool/migrate/1"), digest: digest))),
        .toolEnded(
            ToolEnded(
                task: TaskIdentity(rawValue: "r1/nodes.tool/tool/migrate/1"), state: .failed,
                output: "exit status 1", duration: .milliseconds(1500))),
        .databaseTaskEnded(
            DatabaseTaskEnded(
                kind: .openPass, attempt: 1, result: .done,
                report: DatabaseReport(ledger: ["shelf.0001_initial"]))),
        .databaseTaskEnded(
            DatabaseTaskEnded(
                kind: .closePass, attempt: 1, result: .done,
                report: DatabaseReport(
                    change: ToolChange(
                        isSchemaChanged: true, added: ["shelf.0002_slug"], removed: [])))),
        .schemaAccepted(stamp),
        .toolEnded(
            ToolEnded(
                task: TaskIdentity(rawValue: "r1/nodes.tool-previewed/tool/migrate-preview/1"),
                state: .done, output: "", duration: .milliseconds(900),
                preview: "ALTER TABLE book ADD COLUMN slug text;")),
        .databaseTaskEnded(
            DatabaseTaskEnded(
                kind: .judgeExpand, attempt: 1, result: .done,
                report: DatabaseReport(
                    change: ToolChange(isSchemaChanged: true, added: ["shelf.0002"], removed: [])))),
        .stepBegan(
            StepBegan(
                direction: .forward, index: 21, phase: .migrate,
                step: Step(MigrateStep.word, 1))),
        .databaseTaskStarted(DatabaseTaskFact(kind: .migrate, attempt: 1, database: visits)),
        .databaseTaskEnded(
            DatabaseTaskEnded(kind: .migrate, attempt: 1, result: .lost, database: visits)),
        .mended(
            Mended(
                files: [
                    MigrationReference(
                        name: "0001_init.down.sql", digest: digest, database: visits)
                ], stamp: stamp)
        ),
        .oldReleaseSeen(
            OldReleaseSeen(
                node: node, release: ReleaseName(unchecked: "v1"),
                late: LateProcesses(
                    count: 1,
                    examples: [
                        "python3 4711 (was started for it; connected to 10.0.0.5:5432 from port 41234)"
                    ]))),
        .stepBegan(
            StepBegan(
                direction: .forward, index: 24, phase: .migrate, step: Step(ToolStep.word, 1))),
        .toolEnded(
            ToolEnded(
                task: TaskIdentity(rawValue: "r1/nodes.tool.1/tool/migrate/1"), state: .done,
                output: "", duration: .milliseconds(1500), database: visits)),
        .databaseTaskStarted(DatabaseTaskFact(kind: .closePass, attempt: 1, database: visits)),
        .databaseLeftOut(
            DatabaseLeftOut(
                database: visits, phase: .migrate, reason: "migrate the schema (visits) failed: sql"
            )),
        .standbySeen(StandbySeen(state: .silent, message: "the frozen standby does not answer")),
        .standbySeen(
            StandbySeen(state: .trouble, code: "wal-budget", message: "the log costs too much")),
        .standbySeen(StandbySeen(state: .frozen)),
    ]
    static let visits = DatabaseName(unchecked: "visits")

    private var file: URL {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/events-v1.ndjson")
    }

    @Test func everyStoredEventOfVersionOneDecodesToWhatItWas() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if ProcessInfo.processInfo.environment["SLUICE_REGENERATE"] != nil {
            let lines = try Self.samples.map {
                String(decoding: try encoder.encode($0), as: UTF8.self)
            }
            try (lines.joined(separator: "\n") + "\n").write(
                to: file, atomically: true, encoding: .utf8)
        }
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
        let decoded = try lines.map { try JSONDecoder().decode(RunEvent.self, from: Data($0.utf8)) }
        #expect(decoded == Self.samples)
        let encoded = try decoded.map { String(decoding: try encoder.encode($0), as: UTF8.self) }
        #expect(encoded == lines.map(String.init))
    }

    @Test func anEventOfALaterVersionIsRefusedAndNotGuessed() {
        let later = #"{"type":"node-reached","version":2,"node":"web-1"}"#
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(RunEvent.self, from: Data(later.utf8))
        }
    }

    /// The words of all steps: a new step adds its own, and none that is here is ever changed.
    static let words = [
        "announce", "approval:drain", "approval:finish", "approval:lift", "approval:migrate",
        "approval:preflight", "approval:read-only", "approval:rollout", "approval:stage",
        "approval:verify", "bake", "database:census", "database:closePass",
        "database:closeRevertPass", "database:compareSchema", "database:contract",
        "database:expand", "database:feedStandby", "database:freezeStandby",
        "database:judgeContract", "database:judgeExpand", "database:judgeRevertExpand",
        "database:leaveOut", "database:lowerFence", "database:migrate", "database:openPass",
        "database:openRevertPass",
        "database:pauseManager",
        "database:preflight", "database:promoteBehindFence", "database:promoteStandby",
        "database:raiseFence",
        "database:readPreview", "database:resumeManager",
        "database:revertExpand", "database:revertMigrate", "database:settleExpand",
        "database:settlePass", "hook", "hook-undo", "nodes:braced", "nodes:closed",
        "nodes:drained", "nodes:halted", "nodes:old-ended", "nodes:opened", "nodes:present",
        "nodes:reactivated", "nodes:reader", "nodes:reader-drained", "nodes:reader-ended",
        "nodes:reads-held", "nodes:retired", "nodes:sessions-held", "nodes:silenced",
        "nodes:sites-closed", "nodes:sites-opened",
        "nodes:staged", "nodes:standby-served", "nodes:started", "nodes:tool",
        "nodes:tool-contracted",
        "nodes:tool-expanded", "nodes:tool-expansion-reverted", "nodes:tool-previewed",
        "nodes:tool-reverted", "nodes:unstaged", "nodes:upgraded", "nodes:verified",
    ]

    @Test func everyStepReadsBackFromTheWordThatIsStored() throws {
        #expect(Set(StepCatalog.kinds.keys) == Set(Self.words))
        for (word, kind) in StepCatalog.kinds {
            let mayHaveIndex = kind.isCounted || kind.isOfEachDatabase
            for stored in (kind.isCounted ? [] : [word]) + (mayHaveIndex ? ["\(word):12"] : []) {
                let step = try #require(Step(stored), "\(stored)")
                #expect(step.description == stored)
                #expect(step.title != word, "\(word) has no title")
            }
        }
    }

    @Test(arguments: ["database:feedStandby:1", "nodes:braced:1", "hook", "database:migrate:x"])
    func aStepOfWhichThereAreNotSeveralHasNoIndex(text: String) {
        #expect(Step(text) == nil)
    }
}
