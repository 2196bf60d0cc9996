// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import NodeEngine
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

@Suite struct JournalTests {
    let directory: String
    var path: String { directory + "/agent.journal" }
    let now = Instant(milliseconds: 5_000_000_000_000)

    init() throws { directory = try TemporaryDirectory().path }

    private func write(_ records: [NodeJournalRecord]) throws {
        var opened = try AgentJournal.open(path)
        try opened.journal.append(records, at: now)
    }

    private func memory() throws -> NodeMemory { try AgentJournal.open(path).memory }

    private let records: [NodeJournalRecord] = [
        .accepted(directive(4, epoch: 2) { $0.tasks = [task("t", "go")] }),
        .taskStarted(identity("t")),
    ]

    @Test func whatWasAppendedIsThereAgainWithItsLastInstant() throws {
        try write(records)
        let opened = try AgentJournal.open(path)
        #expect(opened.memory.directive?.revision == 4)
        #expect(opened.memory.tasks[identity("t")]?.state == .running)
        #expect(opened.latest == now)
    }

    @Test func aJournalTornAtAnyByteOpensWithWhatWasComplete() throws {
        try write(records)
        let whole = try Data(contentsOf: URL(filePath: path))
        let firstLine = try #require(whole.firstIndex(of: 10)) + 1
        for length in 0..<whole.count {
            try whole.prefix(length).write(to: URL(filePath: path))
            let memory = try memory()
            #expect((memory.directive != nil) == (length >= firstLine))
            #expect(memory.tasks.isEmpty)
            // And it goes on behind the cut.
            try write([.glassBroken(reason: "x", at: now)])
            #expect(try self.memory().brokenGlass == "x")
        }
    }

    @Test func damageInTheMiddleRefusesToStartAndSaysWhatToDo() throws {
        try write(records)
        var bytes = try Data(contentsOf: URL(filePath: path))
        bytes[10] = 0
        try bytes.write(to: URL(filePath: path))
        do {
            _ = try AgentJournal.open(path).memory
            Issue.record("it opened")
        } catch {
            #expect(error.message.contains("damaged in line 1"))
            #expect(error.message.contains("move the file away"))
        }
        #expect(try Data(contentsOf: URL(filePath: path)) == bytes, "nothing has been changed")
    }

    @Test func aSecondAgentIsRefused() throws {
        let first = try AgentJournal.open(path)
        #expect(throws: SystemFailure.self) { _ = try AgentJournal.open(path).memory }
        withExtendedLifetime(first) {}
    }

    @Test func aCompactedJournalSaysTheSameInLess() throws {
        var opened = try AgentJournal.open(path)
        var memory = opened.memory
        for revision in 1...200 {
            let record = NodeJournalRecord.accepted(
                directive(Int64(revision)) { $0.writes = holding })
            try opened.journal.append([record], at: now)
            memory.apply(record)
        }
        let before = try Data(contentsOf: URL(filePath: path)).count
        try opened.journal.compact(memory, at: now)
        // The lock came along: nobody else can open it, and it goes on.
        #expect(throws: SystemFailure.self) { _ = try AgentJournal.open(path).memory }
        try opened.journal.append([.glassBroken(reason: "y", at: now)], at: now)
        memory.apply(.glassBroken(reason: "y", at: now))
        _ = consume opened
        #expect(try Data(contentsOf: URL(filePath: path)).count < before / 50)
        #expect(try self.memory() == memory)
    }
}
