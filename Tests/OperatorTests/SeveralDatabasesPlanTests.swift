// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ControlAPI
import Foundation
import Testing
import UpgradeEngine
import UpgradeModel

@testable import Operator

/// A plan with several databases: what is said of each, and what is brought.
@Suite(.timeLimit(.minutes(5))) struct SeveralDatabasesPlanTests {
    private static let plan =
        SampleRun.plan + "databases: {visits: {url: env:VISITS_URL, migrations: visits}}\n"

    private func directory() throws -> PlanDirectory {
        let directory = try PlanDirectory(plan: Self.plan)
        try FileManager.default.createDirectory(
            atPath: "\(directory.path)/visits", withIntermediateDirectories: false)
        try directory.write("visits/0001_times.up.sql", "CREATE TABLE visit ();\n")
        try directory.write("visits/0001_times.down.sql", "DROP TABLE visit;\n")
        return directory
    }

    @Test func validateSaysTheMigrationsOfEachAndWhatStays() async throws {
        let directory = try directory()
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        for line in [
            "migrations of default, expand: 0002_index",
            "migrations of default, switch: 0001_entries",
            "migrations of visits, switch: 0001_times",
            "cannot be undone once applied: default/0002_index",
        ] { #expect(console.lines.contains(line)) }
    }

    @Test func aPlanShowsTheStepsOfEachAndThatTheLastOneIsUndoneFirst() async throws {
        let directory = try directory()
        let console = TestConsole()
        let command = try PlanCommand.parse([directory.plan, "--offline", "--json"])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        let forecast = try JSONDecoder().decode(Forecast.self, from: Data(console.out.utf8))
        let migrate = forecast.steps.filter { $0.title.hasPrefix("migrate the schema") }
        #expect(
            migrate.map(\.title) == ["migrate the schema (default)", "migrate the schema (visits)"])
        #expect(migrate.map(\.details.first).last == "those not applied yet of 0001_times")
        let said = try #require(migrate.last?.details.last)
        #expect(said.contains("what default has committed is undone"))
        #expect(
            forecast.undo.map(\.title).filter { $0.hasPrefix("undo the migration") } == [
                "undo the migration (visits)", "undo the migration (default)",
            ])
    }

    @Test func validateAndPlanNameTheToolOfEach() async throws {
        let directory = try PlanDirectory(
            plan: SampleRun.plan + """
                databases:
                  visits: {url: env:VISITS_URL, migrate_with: {run: move, ledger: rails, revert_with: back}}
                  mail: {url: env:MAIL_URL, migrate_with: {run: move, ledger: rails}}

                """)
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        for line in [
            "migration tool of visits: the action move; undone by the action back",
            "migration tool of mail: the action move; nothing undoes it, so the way back ends at its first change",
        ] { #expect(console.lines.contains(line)) }
        let shown = TestConsole()
        let plan = try PlanCommand.parse([directory.plan, "--offline", "--json"])
        #expect(await exitCode { try await plan.perform(shown.console()) } == 0)
        let forecast = try JSONDecoder().decode(Forecast.self, from: Data(shown.out.utf8))
        #expect(
            forecast.steps.map(\.title).filter { $0.contains("the action move") } == [
                "run the migration tool: the action move (visits)",
                "run the migration tool: the action move (mail)",
            ])
    }

    @Test func applyBringsEachFileWithItsDatabase() async throws {
        let directory = try directory()
        let prepared = try await PreparedPlan.read(directory.plan, TestConsole().console())
        let files = prepared.start(request: "r").migrations
        #expect(
            files.map { "\($0.database?.rawValue ?? "?")/\($0.name)" } == [
                "default/0001_entries.down.sql", "default/0001_entries.up.sql",
                "default/0002_index.up.sql", "visits/0001_times.down.sql",
                "visits/0001_times.up.sql",
            ])
        #expect(prepared.databaseQuestion.migrations == files)
    }

    @Test func aDirectoryThatIsMissingIsNamedWhicheverDatabaseItIsOf() async throws {
        let directory = try PlanDirectory(plan: Self.plan)
        let console = TestConsole()
        let command = try ValidateCommand.parse([directory.plan])
        #expect(await exitCode { try await command.perform(console.console()) } == 3)
        #expect(console.out.contains("/visits"))
    }

    @Test func aRequestNamesTheDatabaseThatIsMeant() async throws {
        let server = try FakeCoordinator { request in
            request.method == "POST" ? .json(SampleRun.view(version: 1)) : .json([RunSummary]())
        }
        let console = TestConsole()
        let command = try ResolveCommand.parse([
            "r1", "--undone", "0001", "--database", "visits", "--reason", "by hand",
            "--coordinator", server.url,
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        let body = try #require(server.requests.last?.body)
        let request = try JSONDecoder().decode(RunRequest.self, from: Data(body))
        #expect(request.database?.rawValue == "visits")
        #expect(throws: (any Error).self) {
            try RetryCommand.parse(["r1", "--database", "../visits"])
        }
    }
}
