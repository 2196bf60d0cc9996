// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import HostWork

/// An interpreter keeps nothing open of what it runs: a worker that cron or a unit has started is known by what it was given.
@Suite(.serialized) struct ReleaseScriptsTests {
    /// As nothing else would find it: no variables, no socket, another directory.
    private func hidden(_ app: TestApplication) -> ReleaseFootprint {
        var footprint = app.footprint
        footprint.socket = "/nowhere.sock"
        return footprint
    }

    private func expectToFreezeAndEnd(_ app: TestApplication, _ footprint: ReleaseFootprint) async {
        let processes = ReleaseProcesses(of: footprint, others: [])
        #expect(await processes.freeze().processes == 4)
        #expect(await !app.writes())
        #expect(await processes.end().problem == nil)
        #expect(processes.census().processes == 0)
    }

    @Test func whatRunsAFileOfTheReleaseIsOfIt() async throws {
        let app = try TestApplication("v1", mode: "workers")
        app.script = app.footprint.directory + "/files/app.py"
        try await app.start()
        await expectToFreezeAndEnd(app, hidden(app))
    }

    @Test func aWorkerInATerminalIsOfTheReleaseAsWell() async throws {
        let app = try TestApplication("v1", mode: "workers")
        app.hasTerminal = true
        try await app.start()
        await expectToFreezeAndEnd(app, hidden(app))
    }

    @Test func whatWasStartedThroughTheLinkIsOfTheReleaseThatItLedToThen() async throws {
        let old = try TestApplication("v1", mode: "workers")
        let link = old.directory.path + "/current"
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: old.footprint.directory)
        old.script = link + "/files/app.py"
        try await old.start()
        // The kernel counts starts in hundredths of a second.
        try await Task.sleep(for: .milliseconds(30))
        let new = try TestApplication("v2", mode: "workers")
        try FileManager.default.removeItem(atPath: link)
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: new.footprint.directory)
        new.script = link + "/files/app.py"
        try await Task.sleep(for: .milliseconds(30))
        try await new.start()

        var footprint = hidden(old)
        footprint.servedLink = ServedLink(replacedAt: link)
        let processes = ReleaseProcesses(of: footprint, others: [])
        #expect(await processes.freeze().processes == 4)
        #expect(await !old.writes())
        #expect(await new.writes())
        // The run turns back: what is stopped goes on.
        var served = hidden(old)
        served.servedLink = ServedLink(stoppedOnlyThrough: link)
        #expect(await ReleaseProcesses(of: served, others: []).thaw().problem == nil)
        #expect(await old.writes())
        #expect(await processes.end().problem == nil)
        #expect(await !old.writes())
        #expect(await new.writes())
        _ = await ReleaseProcesses(of: new.footprint, others: []).end()
    }

    @Test func aModuleThatIsFoundByAVariableIsOfTheReleaseWhereverItWorks() async throws {
        let app = try TestApplication("v1", mode: "workers")
        app.isModule = true
        app.environment = ["PYTHONPATH": "/opt/lib:" + app.footprint.directory + "/files"]
        try await app.start()
        await expectToFreezeAndEnd(app, hidden(app))
    }

    @Test func aVariableThatNamesTheLinkMeansTheReleaseThatItLedToThen() async throws {
        let app = try TestApplication("v1", mode: "workers")
        let link = app.directory.path + "/current"
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: app.footprint.directory)
        app.isModule = true
        app.environment = ["PYTHONPATH": link + "/files"]
        try await app.start()
        var footprint = hidden(app)
        // What has begun after the link was made, as the application has, is of what is served now.
        footprint.servedLink = ServedLink(replacedAt: link)
        #expect(ReleaseProcesses(of: footprint, others: []).census().processes == 0)
        try await Task.sleep(for: .milliseconds(30))
        try FileManager.default.removeItem(atPath: link)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "/nowhere")
        footprint.servedLink = ServedLink(replacedAt: link)
        await expectToFreezeAndEnd(app, footprint)
    }

    @Test func theInterpreterOfAVirtualEnvironmentInTheReleaseIsOfIt() async throws {
        let app = try TestApplication("v1", mode: "workers")
        let programs = app.footprint.directory + "/files/venv/bin"
        try FileManager.default.createDirectory(
            atPath: programs, withIntermediateDirectories: true)
        app.interpreter = programs + "/python"
        try FileManager.default.createSymbolicLink(
            atPath: app.interpreter, withDestinationPath: "/usr/bin/python3")
        try await app.start()
        await expectToFreezeAndEnd(app, hidden(app))
    }

    @Test func aProcessThatCallsItselfAProxyIsKnownByItsProgram() async throws {
        let app = try TestApplication("v1", mode: "workers nginx")
        app.script = app.footprint.directory + "/files/app.py"
        try await app.start()
        await expectToFreezeAndEnd(app, hidden(app))
    }

    @Test(
        arguments: [
            ("nginx", "/usr/sbin/nginx", true), ("nginx", "/usr/sbin/nginx.old (deleted)", true),
            ("haproxy", "/opt/haproxy-2.8", true), ("cache-main", "/usr/sbin/varnishd", true),
            ("nginx", nil, true), ("nginx", "/usr/bin/python3.11", false),
            ("cache-main", "/srv/shop/cache-main", false), ("caddy", "/usr/bin/caddyshack", false),
            ("python3", "/usr/sbin/nginx", false),
        ] as [(String, String?, Bool)])
    func aProxyHasTheNameOfOneAndRunsItsProgram(name: String, program: String?, isProxy: Bool) {
        #expect(ReleaseProcesses.isProxy(named: name, program: program) == isProxy)
    }

    @Test func whatIsGivenADirectoryOrReadsAFileIsNotOfTheRelease() async throws {
        let app = try TestApplication("v1", mode: "")
        let files = app.footprint.directory + "/files"
        let tools = try [
            ["/usr/bin/tail", "-f", files + "/app.py"],
            ["/usr/bin/python3", "-c", "import time; time.sleep(60)", files],
            ["/bin/sh", "-c", "sleep 5; :", files + "/app.py"],
        ].map { try ChildProcess($0) }
        #expect(ReleaseProcesses(of: hidden(app), others: []).census().processes == 0)
        for tool in tools { tool.end(SIGTERM) }
    }
}
