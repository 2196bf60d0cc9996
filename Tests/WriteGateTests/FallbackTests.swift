// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Synchronization
import Testing
import TestSupport
import UpgradeModel
import WriteGate

/// What happens when there is no agent, and when it comes back.
@Suite(.timeLimit(.minutes(5)))
struct FallbackTests {
    @Test(arguments: [(["hold-reads"], "GET"), (["read-only", "hold-reads"], "POST")])
    func withoutAnAgentTheHoldReadsFlagRefusesReads(flags: [String], method: String) async throws {
        let node = try await GateNode()
        for flag in flags { try node.directory.write("", to: "run/\(flag)") }
        let response = try await node.client.send(method, "/page")
        #expect(response.status == 503)
        #expect(response.headers["retry-after"] == "5")
        // Whoever only reads is not told that nobody writes.
        let words = method == "GET" ? "This page cannot be shown" : "Read-only"
        #expect(response.body.hasPrefix("\(words) for the moment. Please try again shortly."))
        #expect(node.application.requests.isEmpty)
        for flag in flags { try FileManager.default.removeItem(atPath: node.runtime + "/\(flag)") }
        #expect(try await node.client.send(method, "/page").status == 200)
    }

    @Test func theFlagsAreThereBeforeTheGateClosesAndGoAfterItHasOpened() throws {
        let directory = try TemporaryDirectory()
        let gate = try WriteGate(GateConfiguration(runtimeDirectory: directory.path + "/run"))
        #expect(!directory.exists("run/read-only"))
        try gate.set(.holdAll)
        #expect(directory.exists("run/read-only") && directory.exists("run/hold-reads"))
        #expect(directory.read("run/mode.json")?.contains("\"readOnly\" : true") == true)
        try gate.set(.hold())
        #expect(directory.exists("run/read-only") && !directory.exists("run/hold-reads"))
        try gate.set(.open)
        #expect(!directory.exists("run/read-only") && !directory.exists("run/mode.json"))
    }

    @Test func openingNeedsNoNewSpace() throws {
        let directory = try TemporaryDirectory()
        let gate = try WriteGate(GateConfiguration(runtimeDirectory: directory.path + "/run"))
        try gate.set(.holdAll)
        // No file can be written any more.
        for name in [".mode.json.new", ".read-only.new", ".hold-reads.new"] {
            try FileManager.default.createDirectory(
                atPath: directory.path + "/run/" + name, withIntermediateDirectories: true)
        }
        let error = #expect(throws: GateError.self) { try gate.set(.hold()) }
        #expect(error?.code == .flagNotRemoved)
        #expect(gate.observe().setting == .hold())
        #expect(!directory.exists("run/hold-reads"))
        try gate.set(.open)
        #expect(gate.observe().setting == .open)
        #expect(!directory.exists("run/read-only") && !directory.exists("run/mode.json"))
    }

    @Test func settingTheSameAgainRepairsTheFlags() throws {
        let directory = try TemporaryDirectory()
        let gate = try WriteGate(GateConfiguration(runtimeDirectory: directory.path + "/run"))
        try gate.set(.refuse)
        try FileManager.default.removeItem(atPath: directory.path + "/run/read-only")
        try directory.write("", to: "run/hold-reads")
        try gate.set(.refuse)
        #expect(directory.exists("run/read-only") && !directory.exists("run/hold-reads"))
    }

    @Test func whoeverIsToldThatTheGateIsClosedFindsTheFlags() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/run"
        let found = Mutex<[Bool]>([])
        let gate = try WriteGate(GateConfiguration(runtimeDirectory: path)) { snapshot in
            guard !snapshot.setting.writes.isOpen else { return }
            let flags = ["read-only", "hold-reads", "mode.json"].map {
                access("\(path)/\($0)", F_OK) == 0
            }
            found.withLock { $0.append(!flags.contains(false)) }
        }
        try gate.set(.holdAll)
        #expect(await eventually { found.withLock { $0.count } == 1 })
        #expect(found.withLock { $0 } == [true])
        gate.stop()
    }

    @Test func theProxysWorkersCanSeeTheFlagsAndOnlyTheyCanReachTheSockets() throws {
        let directory = try TemporaryDirectory()
        let gate = try WriteGate(
            GateConfiguration(runtimeDirectory: directory.path + "/run", socketGroup: getgid()))
        try gate.set(.holdAll)
        func mode(_ name: String) throws -> Int {
            let attributes = try FileManager.default.attributesOfItem(atPath: directory.path + name)
            return (attributes[.posixPermissions] as? Int) ?? 0
        }
        #expect(try mode("/run") == 0o755)
        #expect(try mode("/run/read-only") == 0o644)
        #expect(try mode("/run/hold-reads") == 0o644)
        #expect(try mode("/run/gate.sock") == 0o660)
        #expect(try mode("/run/writes.sock") == 0o660)
    }

    @Test func aFlagThatCannotBeWrittenLeavesTheGateAsItWas() throws {
        let directory = try TemporaryDirectory()
        let gate = try WriteGate(GateConfiguration(runtimeDirectory: directory.path + "/run"))
        try FileManager.default.createDirectory(
            atPath: directory.path + "/run/.read-only.new", withIntermediateDirectories: true)
        let error = #expect(throws: GateError.self) { try gate.set(.refuse) }
        #expect(error?.code == .flagNotWritten)
        #expect(gate.observe().setting == .open)
        // What was written of it before it failed goes with the next setting.
        try gate.set(.open)
        #expect(!directory.exists("run/mode.json"))
        try FileManager.default.removeItem(atPath: directory.path + "/run/.read-only.new")
        try gate.set(.refuse)
        #expect(directory.exists("run/mode.json") && directory.exists("run/read-only"))
    }

    @Test func theGateOpensAlsoWhereNoFlagCanBeWritten() throws {
        let directory = try TemporaryDirectory()
        let gate = try WriteGate(GateConfiguration(runtimeDirectory: directory.path + "/run"))
        try gate.set(.refuse)
        try FileManager.default.removeItem(atPath: directory.path + "/run/read-only")
        try FileManager.default.createDirectory(
            atPath: directory.path + "/run/.read-only.new", withIntermediateDirectories: true)
        try gate.set(.open)
        #expect(gate.observe().setting == .open)
    }

    @Test(arguments: ["", "{", "{\"version\": 2}", "null"])
    func aModeThatCannotBeReadStartsClosed(text: String) throws {
        let directory = try TemporaryDirectory()
        try directory.write(text, to: "run/mode.json")
        let gate = try WriteGate(GateConfiguration(runtimeDirectory: directory.path + "/run"))
        #expect(gate.observe().setting.writes.kind == .refuse)
        #expect(directory.exists("run/read-only"))
    }

    @Test(arguments: [GateSetting.open, .hold(), .refuse, .holdAll])
    func aSettingIsTakenUpByTheNextGate(setting: GateSetting) throws {
        let directory = try TemporaryDirectory()
        let configuration = GateConfiguration(runtimeDirectory: directory.path + "/run")
        let first = try WriteGate(configuration)
        try first.set(setting)
        first.stop()
        #expect(throws: GateError.self) { try first.set(.open) }
        let second = try WriteGate(configuration)
        #expect(second.observe().setting == setting)
    }

    @Test func twoGatesDoNotServeOneDirectory() throws {
        let directory = try TemporaryDirectory()
        let configuration = GateConfiguration(runtimeDirectory: directory.path + "/run")
        let first = try WriteGate(configuration)
        let error = #expect(throws: GateError.self) { try WriteGate(configuration) }
        #expect(error?.code == .alreadyRunning)
        #expect(first.observe().setting == .open)
    }

    @Test func aForbiddenPageOfTheApplicationStaysForbidden() async throws {
        let node = try await GateNode(reply: { _ in .init(status: 403, body: "not yours") })
        let gate = try node.gate()
        let response = try await node.client.post("/entries")
        #expect(response.status == 403)
        #expect(response.body == "not yours")
        // A directory without an index is nginx's own 403.
        let listing = try await node.client.get("/static/")
        #expect(listing.status == 403)
        #expect(listing.headers["retry-after"] == nil)
        gate.stop()
    }
}
