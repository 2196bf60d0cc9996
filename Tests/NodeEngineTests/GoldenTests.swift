// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import NodeEngine
import Testing
import UpgradeModel

/// What an agent of an earlier version has written has to be read for ever. Lines are added to the golden file, never changed.
@Suite struct GoldenTests {
    private var lines: [String] {
        get throws {
            let file = URL(filePath: #filePath).deletingLastPathComponent().appending(
                path: "Golden/journal-1.jsonl")
            return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(
                String.init)
        }
    }

    @Test func everyRecordEverWrittenIsReadAndWrittenAsItWas() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        for line in try lines {
            let record = try JSONDecoder().decode(NodeJournalRecord.self, from: Data(line.utf8))
            #expect(String(decoding: try encoder.encode(record), as: UTF8.self) == line)
        }
    }

    @Test func everyKindOfRecordIsInTheGoldenFile() throws {
        let types = try lines.map {
            try JSONDecoder().decode(NodeJournalRecord.self, from: Data($0.utf8)).type
        }
        #expect(
            Set(types) == [
                "accepted", "activation-planned", "task-started", "task-ended", "glass-broken",
                "glass-mended", "silence-began", "silence-over", "lease-resumed", "lease-expired",
                "lease-renewed",
            ])
    }

    @Test(arguments: [
        #"{"type":"accepted","version":2}"#, #"{"type":"forgotten","version":1}"#, "{}",
    ])
    func aRecordOfAnotherVersionIsRefused(line: String) {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(NodeJournalRecord.self, from: Data(line.utf8))
        }
    }

    @Test func theRecordsOfAMemoryFoldToIt() throws {
        var memory = NodeMemory()
        for line in try lines {
            memory.apply(try JSONDecoder().decode(NodeJournalRecord.self, from: Data(line.utf8)))
        }
        memory.apply(.accepted(directive(9, epoch: 9) { $0.tasks = [task("t"), task("u")] }))
        memory.apply(.taskStarted(TaskIdentity(rawValue: "t")))
        memory.apply(.taskEnded(TaskOutcome(identity: TaskIdentity(rawValue: "u"), state: .failed)))
        memory.apply(.glassBroken(reason: "r", at: Instant(milliseconds: 5)))
        let at = Instant(milliseconds: 4)
        for lease in [
            NodeJournalRecord.leaseResumed(at: at), .leaseExpired(at: at), .leaseRenewed(at: at),
        ] {
            memory.apply(lease)
            var folded = NodeMemory()
            for record in memory.records(at: Instant(milliseconds: 6)) { folded.apply(record) }
            #expect(folded == memory)
        }
    }
}
