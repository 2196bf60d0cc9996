// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import ControlAPI
internal import UpgradeModel

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the runs, or one run; with --watch, until it ends.",
        discussion: """
            With --watch the exit code is the run's: 0 done, 3 refused before anything was touched, 4 rolled back, 5 waiting for a \
            person; 130 after Ctrl-C, which ends the watching and not the run. Without --watch it is 0.

            EXAMPLES
              sluice status                      # every run, newest first
              sluice status --watch              # the only run in progress
              sluice status 20261122-182903-k3 --json
            """)

    @Argument(help: "The run. (default with --watch: the only one in progress)")
    var run: String?

    @Flag(help: "Watch the run to its end.")
    var watch = false

    @Flag(help: "Print NDJSON.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await perform(.standard())
    }

    func perform(_ console: Console) async throws {
        try await conclude(json: json, console: console) { () throws(CommandFailure) in
            let client = CoordinatorClient(try connection.resolved())
            guard watch || run != nil else {
                show(try await client.runs(), console)
                return .done
            }
            let run = try await client.chosenRun(
                run,
                orElse:
                    "begin one with: sluice apply PLAN; those that have ended: sluice status")
            if watch { return try await client.watch(run, json: json, console) }
            let view = try await client.run(run)
            if json {
                console.line(jsonLine(view))
            } else {
                console.lines(view.lines(width: console.width))
            }
            return .done
        }
    }

    private func show(_ runs: [RunSummary], _ console: Console) {
        if json {
            for run in runs { console.line(jsonLine(run)) }
        } else {
            console.lines(RunListing.lines(runs, width: console.width))
        }
    }
}

extension ReceivedView {
    /// The run for people; of a newer coordinator's, what every version has.
    func lines(width: Int) -> [StyledLine] {
        switch self {
        case .known(let view): return RunScreen(view: view).lines(width: width)
        case .newer(let view):
            let rows = [
                ("run", "\(view.summary.run), \(standing.state)"), ("phase", standing.phase),
                ("step", view.step), ("because", view.reason), ("next", view.advice),
                (
                    "note",
                    "the coordinator is newer than this program; a `sluice` of its version shows the nodes"
                ),
            ]
            return rows.flatMap { label, text -> [StyledLine] in
                guard let text else { return [] }
                return wrapped(printable(text), to: max(20, width - 10)).enumerated().map {
                    let name = $0 == 0 ? label : ""
                    return StyledLine(
                        name + String(repeating: " ", count: 10 - name.count), .faint)
                        + StyledLine($1)
                }
            }
        }
    }
}
