// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import UpgradeEngine
internal import UpgradeModel

struct ReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Show what happened in a run, as text, JSON or one page.",
        discussion: """
            Made from the journal alone, also of a run that goes on. The page holds everything in one file: it loads nothing and \
            runs no script.

            EXAMPLES
              sluice report 20261122-182903-k3
              sluice report 20261122-182903-k3 --html report.html
              sluice report 20261122-182903-k3 --json | jq .windowMinusMigrationMilliseconds
            """)

    @Argument(help: "The run. (default: the only one in progress)")
    var run: String?

    @Option(
        help: ArgumentHelp("Also write a page to this file.", valueName: "file"),
        completion: .file(extensions: ["html"]))
    var html: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await perform(.standard())
    }

    func perform(_ console: Console) async throws {
        try await conclude(json: json, console: console) { () throws(CommandFailure) in
            let client = CoordinatorClient(try connection.resolved())
            let run = try await client.chosenRun(
                run, orElse: "name one that has ended; those there are: sluice status")
            let journal = try await console.during("reading the journal") {
                () throws(CommandFailure) in try await client.journal(of: run)
            }
            guard let report = RunReport(journal.understood) else {
                throw CommandFailure(
                    code: "journal", "the journal of run \(run) does not begin with its creation",
                    advice: "use a `sluice` of the coordinator's version")
            }
            if !journal.newer.isEmpty {
                console.errorLine(
                    "sluice: warning: not in this report, because the coordinator is newer than this program: "
                        + printable(journal.newer.joined(separator: ", ")))
            }
            if let html { try TextFile.write(ReportPage(report).text, to: html) }
            if json {
                console.line(jsonLine(ReportRecord(report)))
            } else {
                console.lines(ReportText(report).lines(width: console.width))
            }
            return .done
        }
    }
}
