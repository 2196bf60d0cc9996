// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import ControlAPI
internal import UpgradeModel

/// What every request has: the run, and why.
struct RequestOptions: ParsableArguments {
    @Argument(help: "The run. (default: the only one in progress)")
    var run: String?

    @Option(
        help: ArgumentHelp("Why, for the journal and whoever reads it later.", valueName: "text"))
    var reason: String?

    @Flag(help: "Print the run as one JSON object.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func send(_ verb: RequestVerb, _ console: Console) async throws {
        try await conclude(json: json, console: console) { () throws(CommandFailure) in
            let client = CoordinatorClient(try connection.resolved())
            let run = try await client.chosenRun(run, orElse: verb.adviceWithoutRun)
            let request = RunRequest(request: newRequestIdentifier(), verb: verb, reason: reason)
            let view = try await client.patient(for: .seconds(10)).request(request, of: run)
            if json {
                console.line(jsonLine(view))
            } else {
                let standing = view.standing
                console.line(
                    "run \(run): \(verb.rawValue) accepted; it is \(printable(standing.state)), phase \(printable(standing.phase))"
                )
                console.errorLine("sluice: watch it: sluice status \(run) --watch")
            }
            return .done
        }
    }
}

extension RequestVerb {
    /// What to do when no run is in progress: one that has ended takes no request.
    fileprivate var adviceWithoutRun: String {
        switch self {
        case .rollback:
            "there is nothing to undo; a plan to the older release goes back: sluice apply PLAN"
        case .pause, .resume, .approve, .abort, .retry:
            "there is nothing to \(rawValue); see how the last run ended: sluice status"
        }
    }
}

struct PauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Begin no new step until resume; the current step goes on.",
        discussion: """
            In the write window writes stay closed while a run is paused.

            EXAMPLES
              sluice pause
              sluice pause 20261122-182903-k3 --reason "the canary looks slow"
            """)

    @OptionGroup var options: RequestOptions

    func run() async throws { try await options.send(.pause, .standard()) }
}

struct ResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Go on with a paused run.",
        discussion: """
            EXAMPLES
              sluice resume
            """)

    @OptionGroup var options: RequestOptions

    func run() async throws { try await options.send(.resume, .standard()) }
}

struct ApproveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Let the phase begin that waits for approval.",
        discussion: """
            EXAMPLES
              sluice approve --reason "checked the canary by hand"
            """)

    @OptionGroup var options: RequestOptions

    func run() async throws { try await options.send(.approve, .standard()) }
}

struct AbortCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "abort",
        abstract: "Begin no new step, then do what the plan's on_failure says.",
        discussion: """
            Refused past the point of no return, when writes may have happened on the new schema.

            EXAMPLES
              sluice abort --reason "wrong release"
            """)

    @OptionGroup var options: RequestOptions

    func run() async throws { try await options.send(.abort, .standard()) }
}

struct RetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Try the failed step of a stopped run again.",
        discussion: """
            EXAMPLES
              sluice retry --reason "web-2 has disk space again"
            """)

    @OptionGroup var options: RequestOptions

    func run() async throws { try await options.send(.retry, .standard()) }
}

struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Undo what a run has done, in reverse order, whatever on_failure says.",
        discussion: """
            Refused past the point of no return: from then on only a plan to the older release goes back.

            EXAMPLES
              sluice rollback --reason "errors on web-1"
            """)

    @OptionGroup var options: RequestOptions

    func run() async throws { try await options.send(.rollback, .standard()) }
}
