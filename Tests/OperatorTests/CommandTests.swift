// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ContentDigest
import ControlAPI
import Foundation
import Synchronization
import Testing
import UpgradeEngine
import UpgradeModel
import UpgradePlan

@testable import Operator

@Suite(.timeLimit(.minutes(5)))
struct CommandTests {
    /// A coordinator with three nodes on v1, no run, and a store of blobs.
    ///
    /// - Parameter knowsPacks: as one of this version; an earlier one says 404 to what it does not know.
    private func coordinator(
        runs: [RunSummary] = [], release: String = "v1", knowsPacks: Bool = false,
        _ answer: @escaping FakeCoordinator.Handler = { _ in .text(404, "") }
    ) throws -> FakeCoordinator {
        let blobs = Mutex<Set<String>>([])
        return try FakeCoordinator { request in
            switch (request.method, request.path) {
            case ("GET", Path.runs): return .json(runs)
            case ("GET", Path.nodes):
                return .json(
                    SampleRun.nodes(1, 2, 3).map {
                        NodeView(
                            name: $0, labels: [:], run: nil, lastSeen: .seconds(1),
                            status: SampleRun.status(release: release))
                    })
            case ("HEAD", let path) where path.hasPrefix("/v1/blobs/"):
                return .text(blobs.withLock { $0.contains(path) } ? 200 : 404, "")
            case ("POST", Path.missingBlobs) where knowsPacks:
                let lacking = (BlobPack.digests(inList: request.body) ?? []).filter { digest in
                    !blobs.withLock { $0.contains(Path.blob(digest)) }
                }
                return .text(200, String(decoding: BlobPack.list(lacking), as: UTF8.self))
            case ("POST", Path.storePack) where knowsPacks:
                var reader = BlobPack.Reader()
                for blob in (try? reader.read(request.body)) ?? [] {
                    guard blob.digest == Digest.sha256(of: blob.bytes) else {
                        return .text(422, "")
                    }
                    _ = blobs.withLock { $0.insert(Path.blob(blob.digest)) }
                }
                return .text(204, "")
            case ("POST", let path) where path.hasPrefix("/v1/packs/"): return .text(404, "")
            case ("PUT", let path):
                guard path == "/v1/blobs/\(Digest.sha256(of: request.body))" else {
                    return .text(422, "")
                }
                _ = blobs.withLock { $0.insert(path) }
                return .text(201, "")
            default: return answer(request)
            }
        }
    }

    @Test func aValidPlanIsSaidToBeValidAndWhatCannotBeUndone() async throws {
        let directory = try PlanDirectory()
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.out.contains("plan.yaml: valid\n"))
        #expect(console.out.contains("migrations, expand: 0002_index\n"))
        #expect(console.out.contains("migrations, switch: 0001_entries\n"))
        #expect(console.out.contains("cannot be undone once applied: 0002_index\n"))
        #expect(
            console.out.contains("0002_index.up.sql:1:1: warning: 0002_index has no down-migration")
        )
    }

    @Test(arguments: [("", "static/assets"), (", assets: static", "static")])
    func theAssetsAreWhereThePlanSaysOrInTheUsualPlace(key: String, assets: String) async throws {
        let directory = try PlanDirectory(
            plan: SampleRun.plan.replacing("bundle: bundle", with: "bundle: bundle\(key)"))
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.out.contains(", assets \(assets)\n"))
    }

    @Test func assetsThatThePlanNamesAndTheBundleLacksAreAnError() async throws {
        let directory = try PlanDirectory(
            plan: SampleRun.plan.replacing("bundle: bundle", with: "bundle: bundle, assets: dist"))
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        #expect(console.out.contains("dist"))
    }

    @Test func everyFindingOfAnInvalidPlanIsShownWithItsPlace() async throws {
        let directory = try PlanDirectory(plan: "fleet: -x\nreleaze: {}\n")
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        #expect(console.out.contains("plan.yaml:1:8: error: "))
        #expect(console.out.contains("plan.yaml:2:1: error: "))
        #expect(console.out.contains("plan.yaml: not valid, "))
    }

    /// Samples of what other tools write; each was found in the window before.
    @Test(arguments: [
        ("ALTER TABEL entry ADD x int;", "1:7", "migration-syntax"),
        ("COPY entry FROM stdin;\n1\n\\.\n", "", "migration-"),
        ("\\restrict abc\nSELECT 1;", "1:1", "migration-psql"),
        ("BEGIN;\nSELECT 1;\nCOMMIT;", "3:1", "migration-statement"),
        ("SELECT 1;\nVACUUM entry;", "", "migration-"),
        ("-- nothing yet\n", "", "migration-empty"),
    ])
    func whatIsNoMigrationIsSaidALineEachByValidateAndPlan(
        sql: String, position: String, code: String
    ) async throws {
        let directory = try PlanDirectory()
        try directory.write("migrations/0007_case.up.sql", sql)
        let console = TestConsole()
        let validate = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await validate.perform(console.console()) } == 3)
        let lines = console.lines.filter { $0.contains(": error: ") }
        #expect(!lines.isEmpty)
        #expect(lines.allSatisfy { $0.contains("/migrations/0007_case.up.sql:") })
        #expect(lines.contains { $0.contains("[\(code)") && $0.contains("sql:\(position)") })
        // The same checks, with the outside world.
        let outside = TestConsole()
        let plan = try PlanCommand.parse([directory.plan, "--offline"])
        #expect(await exitCode { try await plan.perform(outside.console()) } == 3)
        for line in lines { #expect(outside.err.contains(line + "\n")) }
    }

    @Test func whatTheOldReadersWouldMissIsAWarningBeforeTheRun() async throws {
        let directory = try PlanDirectory()
        try directory.write("migrations/0007_drop.up.sql", "ALTER TABLE page DROP COLUMN a;\n")
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.out.contains("0007_drop.up.sql:1:1: warning: it drops column a of page"))
        let hold = try PlanDirectory(
            plan: SampleRun.plan + "reads: {while_migrating: hold}\n")
        try hold.write("migrations/0007_drop.up.sql", "ALTER TABLE page DROP COLUMN a;\n")
        let held = TestConsole()
        let other = try ValidateCommand.parse([hold.plan])
        #expect(await exitCode { try await other.perform(held.console()) } == 0)
        #expect(!held.out.contains("[breaks-old-readers]"))
    }

    @Test func wrongKeysDoNotHideThatTheBundleIsMissing() async throws {
        let directory = try PlanDirectory(
            plan: SampleRun.plan.replacing("bundle: bundle", with: "bundle: nowhere")
                + "releaze: {}\n")
        try directory.write("migrations/readme.sql", "x")
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        #expect(console.out.contains("[unknown-key]"))
        #expect(console.out.contains("/nowhere"))
        #expect(console.out.contains("[migration-name]"))
    }

    @Test func whatAPlanNamesIsCheckedToo() async throws {
        let directory = try PlanDirectory()
        try directory.write("migrations/readme.sql", "x")
        try directory.write("migrations/0003_lost.down.sql", "x")
        try directory.write("migrations/0004_when.up.sql", "\n-- sluice: sometimes\nx")
        try FileManager.default.createSymbolicLink(
            atPath: "\(directory.path)/bundle/link", withDestinationPath: "/etc/passwd")
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan, "--json"])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        let answer = try JSONDecoder().decode(
            ValidateCommand.Answer.self, from: Data(console.out.utf8))
        let codes = Set(answer.diagnostics.map(\.code))
        #expect(!answer.valid)
        #expect(
            codes.isSuperset(of: [
                "migration-name", "migration-without-up", "migration-phase", "bundle-link",
            ]))
    }

    @Test func migrationsThatOneReleaseCannotHaveInThisOrderAreNotedWithBothNames() async throws {
        let directory = try PlanDirectory()
        try directory.write("migrations/0004_drop.up.sql", "-- sluice: contract\nDROP TABLE old")
        try directory.write("migrations/0005_split.up.sql", "CREATE TABLE split ()")
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        let notes = console.lines.filter { $0.contains("[migration-out-of-order]") }
        #expect(notes.count == 1)
        #expect(
            notes.first?.contains(
                "0005_split.up.sql:1:1: note: 0005_split (switch) has a higher number than 0004_drop (contract)"
            ) == true)
    }

    @Test func aPageThatCannotBeWrittenSaysWhichDirectoryIsNotThere() throws {
        do throws(CommandFailure) {
            try TextFile.write("x", to: "/nowhere/report.html")
            Issue.record("it was written")
        } catch {
            #expect(
                error.message
                    == "cannot create the file /nowhere/report.html: the directory /nowhere does not exist"
            )
        }
    }

    @Test(arguments: [
        (RequestVerb.pause, "there is nothing to pause; see how the last run ended"),
        (.rollback, "a plan to the older release goes back: sluice apply PLAN"),
    ])
    func aCommandWithoutARunSaysWhatToDo(verb: RequestVerb, advice: String) async throws {
        let server = try coordinator()
        let console = TestConsole()
        let options = try RequestOptions.parse(["--coordinator", server.url])
        #expect(await exitCode { try await options.send(verb, console.console()) } == 1)
        #expect(console.err.contains(advice))
    }

    @Test func anotherServerAtTheAddressIsSaidToBeNoCoordinator() async throws {
        let server = try FakeCoordinator { _ in .text(404, "<html>nginx</html>") }
        let console = TestConsole()
        let command = try StatusCommand.parse(["--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 1)
        #expect(
            console.err
                == """
                sluice: error: what answers at \(server.url) is not a Sluice coordinator
                sluice: next: check the address in --coordinator or SLUICE_COORDINATOR

                """
        )
    }

    @Test func aPlanThatIsNotThereIsAnError() async throws {
        let console = TestConsole()
        let command = try ValidateCommand.parse(["/nowhere/plan.yaml"])
        #expect(await exitCode { try await command.perform(console.console()) } == 1)
        #expect(
            console.err
                == """
                sluice: error: cannot open the plan /nowhere/plan.yaml: No such file or directory
                sluice: next: check the path; it is relative to the directory that you are in

                """
        )
    }

    @Test func aBundleIsShownWithItsDigests() async throws {
        let directory = try PlanDirectory()
        let console = TestConsole()
        let command = try BundleCommand.parse(["\(directory.path)/bundle/", "--release", "v2"])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.lines.first == "f \(Digest.sha256(of: "print('v2')\n")) 12 app.py")
        #expect(console.lines.contains("release  v2"))
        #expect(console.lines.contains("assets   static/assets"))
        #expect(console.lines.last == "total    2 files, 20 B")

        // The lines are those of the manifest, links among them.
        try FileManager.default.createSymbolicLink(
            atPath: "\(directory.path)/bundle/main.py", withDestinationPath: "app.py")
        let linked = TestConsole()
        #expect(await exitCode { try await command.perform(linked.console()) } == 0)
        #expect(linked.lines.contains("l 6 app.py main.py"))
        #expect(linked.lines.last == "total    2 files, 1 link, 20 B")
    }

    @Test func aPlanShowsEveryStepInOrderAndTouchesNothing() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator()
        let console = TestConsole()
        let command = try PlanCommand.parse([
            directory.plan, "--json", "--coordinator", server.url, "--detailed-exitcode",
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 2)
        let forecast = try JSONDecoder().decode(Forecast.self, from: Data(console.out.utf8))
        #expect(forecast.batches == [SampleRun.nodes(1), SampleRun.nodes(2, 3)])
        #expect(forecast.isPending == true)
        // What is shown is what the engine does.
        let plan = try #require(PlanDocument.parse(text: SampleRun.plan, file: "plan.yaml").plan)
        #expect(
            forecast.steps.map(\.step) == Itinerary.forward(plan, batches: 2).map(\.step))
        #expect(forecast.steps.contains { $0.step == .database(.migrate) })
        #expect(
            server.requests.allSatisfy { $0.method == "GET" || $0.path == Path.databaseFindings })
    }

    @Test func aPlanShowsWhatTheDatabaseWouldSayInPreflight() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator { request in
            guard request.path == Path.databaseFindings else { return .text(404, "") }
            return .json(
                DatabaseFindings([
                    Diagnostic(
                        .error, code: "createrole", "app may make roles", advice: "ALTER ROLE")
                ]))
        }
        let console = TestConsole()
        let command = try PlanCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        #expect(console.out.contains("error: app may make roles; ALTER ROLE [createrole]"))
    }

    /// The plan holds writes for 15 s.
    @Test(arguments: [(16_000, true), (14_000, false)])
    func aPlanSaysThatTheLastWindowWasLongerThanWritesAreHeld(length: Int64, isLonger: Bool)
        async throws
    {
        let directory = try PlanDirectory()
        let opened = SampleRun.view().windowOpened ?? SampleRun.began
        let server = try coordinator(runs: [SampleRun.summary(.done)]) { request in
            guard request.path == Path.run(SampleRun.identifier) else { return .text(404, "") }
            return .json(
                SampleRun.view(.done, windowClosed: opened + Span(milliseconds: length)))
        }
        let console = TestConsole()
        let command = try PlanCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        let words = "to v2, took 16.0s, and this plan holds a write for 15s"
        #expect(console.out.contains(words) == isLonger)
        #expect(console.out.contains("sluice report 20261122-182903-k3") == isLonger)
    }

    @Test func aPlanWhoseDatabaseCannotBeAskedSaysSo() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator()
        let console = TestConsole()
        let command = try PlanCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.out.contains("the database was not asked"))
    }

    @Test func aPlanForPeopleNamesNodesBatchesAndTheWayBack() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator()
        let console = TestConsole()
        let command = try PlanCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.lines.contains("web-2      2  v1      serve v2"))
        #expect(console.lines.contains("rollout    upgrade the canary"))
        #expect(console.lines.contains("               web-2 web-3"))
        #expect(
            console.out.contains(
                "when anything fails before the lift, this is undone\nrollout    reactivate the old release\n"
            ))
        #expect(console.out.contains("0002_index cannot be undone: it has no down-migration"))
    }

    @Test func driftIsShown() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator(runs: [SampleRun.summary()], release: "v0")
        let console = TestConsole()
        let command = try PlanCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.out.contains("warning: web-1: it serves v0, and the plan expects v1"))
        #expect(
            console.out.contains(
                "bring web-1 to v1 first, or set release.expected to v0, which is served"))
        #expect(
            console.out.contains(
                "the fleet guestbook is held by run 20261122-182903-k3 of ada since 2026-11-22T18:29:03Z"
            ))
    }

    @Test func aPlanWithoutACoordinatorShowsWhatThePlanAloneSays() async throws {
        let directory = try PlanDirectory()
        let console = TestConsole()
        let command = try PlanCommand.parse([directory.plan, "--offline"])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.out.contains("web-1"))
    }

    @Test func applyBringsWhatIsMissingAndStartsTheRun() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator { request in
            request.path == Path.runs ? .json(201, SampleRun.view(version: 1)) : .text(404, "")
        }
        let console = TestConsole()
        let command = try ApplyCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.lines == ["run 20261122-182903-k3"])
        #expect(console.err.contains("sluice: bundle v2: sent 3 files"))
        #expect(console.err.contains("sluice status 20261122-182903-k3 --watch"))

        let body = try #require(server.requests.last?.body)
        let start = try JSONDecoder().decode(StartRun.self, from: Data(body))
        #expect(start.plan == SampleRun.plan)
        #expect(
            start.migrations.map(\.name) == [
                "0001_entries.down.sql", "0001_entries.up.sql", "0002_index.up.sql",
            ])
        #expect(server.count("PUT", Path.blob(start.manifest)) == 1)

        let again = TestConsole()
        #expect(await exitCode { try await command.perform(again.console()) } == 0)
        #expect(again.err.contains("sent 0 files (0 B), 3 were there"))
    }

    @Test func applyWatchesTheRunToItsEnd() async throws {
        let directory = try PlanDirectory()
        let run = SampleRun.rolledBack()
        let server = try coordinator { request in
            if request.path == Path.runs { return .json(201, SampleRun.view(version: 1)) }
            return .stream { peer in
                for entry in run.entries { peer.event("fact", entry, identifier: entry.version) }
                peer.event("view", SampleRun.view(.rolledBack, version: Int64(run.entries.count)))
            }
        }
        let console = TestConsole()
        let command = try ApplyCommand.parse([
            directory.plan, "--watch", "--coordinator", server.url,
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 4)
        #expect(console.lines.last?.hasSuffix("rolled back") == true)
    }

    @Test func smallFilesAreSentInOnePackAndNotAgain() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator(knowsPacks: true) { _ in
            .json(201, SampleRun.view(version: 1))
        }
        for _ in 0..<2 {
            let console = TestConsole()
            let command = try ApplyCommand.parse([directory.plan, "--coordinator", server.url])
            #expect(await exitCode { try await command.perform(console.console()) } == 0)
        }
        #expect(server.count("POST", Path.missingBlobs) == 2)
        #expect(server.count("POST", Path.storePack) == 1)
        #expect(!server.requests.contains { ["HEAD", "PUT"].contains($0.method) })
    }

    @Test func aRequestThatIsSentAgainCarriesTheSameIdentifier() async throws {
        let directory = try PlanDirectory()
        let attempts = Mutex(0)
        let server = try coordinator { _ in
            let attempt = attempts.withLock { count in
                count += 1
                return count
            }
            return attempt < 3 ? .text(503, "") : .json(201, SampleRun.view(version: 1))
        }
        let console = TestConsole()
        let command = try ApplyCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        let starts = server.requests.filter { $0.method == "POST" && $0.path == Path.runs }
        #expect(starts.count == 3)
        #expect(Set(starts.map(\.body)).count == 1)
    }

    @Test func aHeldFleetIsARefusalThatSaysWhoHoldsIt() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator { _ in
            .json(
                409,
                APIError(
                    code: "fleet-held", message: "the fleet guestbook is held by run r7",
                    advice: "watch it with `sluice status r7 --watch`"))
        }
        let console = TestConsole()
        let command = try ApplyCommand.parse([
            directory.plan, "--coordinator", server.url, "--json",
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        #expect(
            console.err.contains(
                "sluice: error: the fleet guestbook is held by run r7\nsluice: next: watch it with")
        )
        #expect(console.lines.last?.contains("\"code\":\"fleet-held\"") == true)
    }

    @Test func theSecondOperatorLearnsWhoHoldsTheFleetAndSinceWhen() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator(runs: [SampleRun.summary()])
        let console = TestConsole()
        let command = try ApplyCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        #expect(
            console.err.hasPrefix(
                "sluice: error: the fleet guestbook is held by run 20261122-182903-k3 of ada since 2026-11-22T18:29:03Z; it is running, phase rollout\n"
            ))
        #expect(server.requests.allSatisfy { $0.method == "GET" })
    }

    @Test(arguments: [
        (
            "names: [web-1, web-9]",
            "the plan names the node web-9, which the inventory does not have",
            "sluice token create --node web-9"
        ),
        ("labels: {role: nobody}", "the plan's labels select no node", "sluice nodes"),
    ])
    func whatIsCertainToBeRefusedIsRefusedBeforeTheBundleIsBrought(
        nodes: String, message: String, advice: String
    ) async throws {
        let directory = try PlanDirectory(
            plan: SampleRun.plan.replacing("names: [web-1, web-2, web-3]", with: nodes))
        let server = try coordinator()
        let console = TestConsole()
        let command = try ApplyCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        #expect(console.err.contains("sluice: error: \(message)\nsluice: next: "))
        #expect(console.err.contains(advice))
        #expect(server.requests.allSatisfy { $0.method == "GET" })
    }

    @Test func aTerminalIsAskedFirst() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator()
        let console = TestConsole()
        let command = try ApplyCommand.parse([directory.plan, "--coordinator", server.url])
        #expect(
            await exitCode {
                try await command.perform(console.console(terminal: true, answer: ""))
            } == 3)
        #expect(console.out.hasSuffix("Start this run? [y/N] "))
        #expect(
            server.requests.allSatisfy { $0.method == "GET" || $0.path == Path.databaseFindings })
    }

    @Test(arguments: RequestVerb.allCases)
    func aRequestGoesToTheOnlyRunInProgress(verb: RequestVerb) async throws {
        let server = try coordinator(runs: [SampleRun.summary(), endedRun]) { _ in
            .json(202, SampleRun.view(.paused))
        }
        let console = TestConsole()
        let options = try RequestOptions.parse(["--reason", "because", "--coordinator", server.url])
        #expect(await exitCode { try await options.send(verb, console.console()) } == 0)
        let post = try #require(server.requests.last)
        #expect(post.path == Path.requests(SampleRun.identifier))
        let request = try JSONDecoder().decode(RunRequest.self, from: Data(post.body))
        #expect(request.verb == verb && request.reason == "because")
        #expect(
            console.out
                == "run 20261122-182903-k3: \(verb.rawValue) accepted; it is paused, phase rollout\n"
        )
    }

    private var endedRun: RunSummary {
        var summary = SampleRun.summary(.done)
        summary.run = RunIdentifier(unchecked: "old")
        return summary
    }

    @Test func anAmbiguousRunIsNotGuessed() async throws {
        var other = SampleRun.summary()
        other.run = RunIdentifier(unchecked: "r8")
        other.fleet = FleetName(unchecked: "shop")
        let server = try coordinator(runs: [other, SampleRun.summary()])
        let console = TestConsole()
        let options = try RequestOptions.parse(["--coordinator", server.url])
        #expect(await exitCode { try await options.send(.abort, console.console()) } == 1)
        #expect(
            console.err.contains(
                "2 runs are in progress: r8 (shop), 20261122-182903-k3 (guestbook)"))
        #expect(server.requests.allSatisfy { $0.method == "GET" })
    }

    @Test func noRunInProgressIsSaidSo() async throws {
        let server = try coordinator(runs: [endedRun])
        let console = TestConsole()
        let options = try RequestOptions.parse(["--coordinator", server.url])
        #expect(await exitCode { try await options.send(.abort, console.console()) } == 1)
        #expect(console.err.hasPrefix("sluice: error: no run is in progress\n"))
    }

    @Test func aReportIsMadeFromTheJournal() async throws {
        let directory = try PlanDirectory()
        let server = try coordinator { _ in .json(SampleRun.straight().journal) }
        let console = TestConsole()
        let page = "\(directory.path)/report.html"
        let command = try ReportCommand.parse([
            "20261122-182903-k3", "--json", "--html", page, "--coordinator", server.url,
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.out.contains("\"windowMilliseconds\":1319,"))
        #expect(console.out.contains("\"windowMinusMigrationMilliseconds\":219"))
        #expect(try String(contentsOfFile: page, encoding: .utf8).hasPrefix("<!DOCTYPE html>"))
    }

    @Test func nobodyListeningIsSaidWithWhatToDo() async throws {
        let server = try coordinator()
        let url = server.url
        server.stop()
        let console = TestConsole()
        let command = try NodesCommand.parse(["--coordinator", url])
        #expect(await exitCode { try await command.perform(console.console()) } == 1)
        #expect(
            console.err.hasPrefix(
                "sluice: error: nobody listens at \(url)\nsluice: next: is `sluice coordinator` running?"
            ))
    }

    @Test func authoritiesThatCannotBeReadAreToldFromACertificateThatIsNotTrusted() async throws {
        let server = try coordinator()
        let console = TestConsole()
        let command = try NodesCommand.parse([
            "--coordinator", server.url.replacing("http:", with: "https:"),
            "--ca-file", "/there/is/none.pem",
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 1)
        #expect(console.err.contains("/there/is/none.pem"))
        #expect(console.err.contains("sluice: next: give a file of certificates (PEM)"))
    }

    @Test func aTokenThatIsNotAcceptedIsSaidAndNeverShown() async throws {
        let directory = try PlanDirectory()
        try directory.write("token", "hunter2-token\n")
        let server = try FakeCoordinator { request in
            .text(request.headers["authorization"] == "Bearer hunter2-token" ? 401 : 500, "")
        }
        let console = TestConsole()
        let command = try NodesCommand.parse([
            "--coordinator", server.url, "--token-file", "\(directory.path)/token",
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 1)
        #expect(console.err.contains("does not accept this token"))
        #expect(console.err.contains("sluice token create --operator NAME"))
        #expect(!console.err.contains("hunter2"))
    }

    @Test func optionsGoBeforeTheEnvironment() throws {
        let environment = [
            "SLUICE_COORDINATOR": "https://a.example/", "SLUICE_TOKEN": "t",
            "SLUICE_CA_FILE": "/ca",
        ]
        let plain = try ConnectionOptions.parse([]).resolved(environment)
        #expect(
            plain.url == "https://a.example" && plain.authorities == "/ca" && plain.token != nil)
        let given = try ConnectionOptions.parse(["--coordinator", "https://b:1", "--ca-file", "/x"])
            .resolved(environment)
        #expect(given.url == "https://b:1" && given.authorities == "/x")
        #expect(try ConnectionOptions.parse([]).resolved([:]).url == "http://127.0.0.1:9740")
        #expect(throws: CommandFailure.self) {
            try ConnectionOptions.parse(["--coordinator", "b:1"]).resolved([:])
        }
    }

    @Test(arguments: [
        "http://10.0.0.1:9740", "http://sluice.example", "http://127.evil.example:1",
        "http://localhost.evil.example",
    ])
    func aTokenIsNotSentInClearToAnotherMachine(url: String) throws {
        let options = try ConnectionOptions.parse(["--coordinator", url])
        let failure = #expect(throws: CommandFailure.self) { try options.resolved([:]) }
        #expect(failure?.code == "plain-http")
        #expect(failure?.advice?.contains("--allow-plain-http") == true)
        #expect(try options.resolved(["SLUICE_ALLOW_PLAIN_HTTP": "1"]).url == url)
        let allowed = try ConnectionOptions.parse(["--coordinator", url, "--allow-plain-http"])
        #expect(try allowed.resolved([:]).url == url)
    }

    static let token = "sluice-" + String(repeating: "0123456789abcdef", count: 4)

    /// Wherever it was pasted, and also when its end is missing.
    @Test(arguments: [token, String(token.dropLast(9))])
    func aTokenInTheWrongPlaceIsNeverRepeated(token: String) async throws {
        let server = try FakeCoordinator { request in
            .json(404, APIError(code: "not-found", message: "there is no run \(request.path)"))
        }
        let commands: [(TestConsole) async throws -> Void] = [
            { try await StatusCommand.parse([token, "--json"]).perform($0.console()) },
            { try await ValidateCommand.parse([token]).perform($0.console()) },
            { try await BundleCommand.parse([token, "--release", token]).perform($0.console()) },
            { try await NodesCommand.parse(["--token-file", token]).perform($0.console()) },
            { try await NodesCommand.parse(["--coordinator", token]).perform($0.console()) },
            {
                try await NodesCommand.parse(["--coordinator", "http://u:\(token)@h"]).perform(
                    $0.console())
            },
            {
                try await StatusCommand.parse(["r-\(token)", "--coordinator", server.url, "--json"])
                    .perform($0.console())
            },
        ]
        for command in commands {
            let console = TestConsole()
            #expect(await exitCode { try await command(console) } != 0)
            #expect(!(console.out + console.err).contains("0123456789abcdef"))
        }
        let lines = try #require(misspelling(in: [token], of: Program.self))
        #expect(!lines.joined().contains("0123456789abcdef"))
    }

    @Test func aPasswordInTheAddressIsNotRepeated() throws {
        let failure = #expect(throws: CommandFailure.self) {
            try ConnectionOptions.parse(["--coordinator", "https://ada:hunter2@h"]).resolved([:])
        }
        #expect(failure?.lines.joined().contains("hunter2") == false)
        #expect(failure?.message.contains("a user name or a password") == true)
    }

    private struct Program: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "sluice", subcommands: operatorCommands)
    }

    @Test(arguments: [
        ("aply", "apply"), ("plna", "plan"), ("stauts", "status"), ("vaildate", "validate"),
        ("rolback", "rollback"),
    ])
    func aCommandThatDoesNotExistIsAnsweredWithTheNearest(word: String, command: String) {
        #expect(
            misspelling(in: [word, "x"], of: Program.self) == [
                "sluice: error: there is no command \(word)",
                "sluice: next: did you mean `sluice \(command)`? All of them: sluice --help",
            ])
    }

    @Test(arguments: [[], ["--help"], ["apply", "x"], ["help", "apply"], ["--version"]])
    func whatMayBeACommandIsLeftToTheParser(arguments: [String]) {
        #expect(misspelling(in: arguments, of: Program.self) == nil)
    }

    @Test func aWordThatIsNearNothingGetsTheList() {
        #expect(
            misspelling(in: ["frobnicate"], of: Program.self)?.last
                == "sluice: next: All of them: sluice --help")
    }

    @Test func whatIsUndoneIsListedInTheOrderInWhichItIs() async throws {
        let directory = try PlanDirectory(
            plan: SampleRun.plan + "hooks: [{before: rollout, run: warm-cdn, where: one-node}]\n")
        try directory.write("migrations/0003_more.up.sql", "CREATE TABLE more ();\n")
        try directory.write("migrations/0003_more.down.sql", "DROP TABLE more;\n")
        let console = TestConsole()
        let command = try PlanCommand.parse([directory.plan, "--offline"])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        let undo = try #require(console.out.split(separator: "this is undone\n").last)
        let later = try #require(undo.range(of: "0003_more"))
        let earlier = try #require(undo.range(of: "0001_entries"))
        #expect(later.lowerBound < earlier.lowerBound)
        #expect(console.out.contains("run the action warm-cdn on one node"))
        #expect(!console.out.contains("hook 1"))
    }

    @Test(arguments: operatorCommands.map { $0.configuration.commandName ?? "" })
    func everyCommandHasExamples(name: String) throws {
        let command = try #require(operatorCommands.first { $0.configuration.commandName == name })
        #expect(command.configuration.discussion.contains("EXAMPLES\n  sluice \(name)"))
    }
}
