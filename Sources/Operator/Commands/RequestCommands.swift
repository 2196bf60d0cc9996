// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import ControlAPI
internal import MigrationReader
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

    static func requireName(ofDatabase text: String?) throws {
        guard let text, DatabaseName(text) == nil else { return }
        throw ValidationError("\(text) is not a database's name, as the plan has it")
    }

    static let databaseHelp = ArgumentHelp(
        "The database that is meant, of a plan with several; it has to be the one that the run waits for. (default: that one)",
        valueName: "name")

    func send(_ verb: RequestVerb, _ console: Console) async throws {
        try await send(console, RunRequest(request: newRequestIdentifier(), verb: verb))
    }

    /// - Parameter asked: without its reason, which is among the options.
    func send(_ console: Console, _ asked: RunRequest) async throws {
        let verb = asked.verb
        try await conclude(json: json, console: console) { () throws(CommandFailure) in
            let client = CoordinatorClient(try connection.resolved())
            let run = try await client.chosenRun(run, orElse: verb.adviceWithoutRun)
            var request = asked
            request.reason = reason
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
        case .pause, .resume, .approve, .abort, .retry, .resolve:
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
            A run keeps the files that it was started with. When a down file of it does not work, --down brings one that does; it is
            read at once, and tried in a transaction that takes effect as a whole or not at all. --forward lets a run that goes back go
            forward again, from the first step that was undone.

            EXAMPLES
              sluice retry --reason "web-2 has disk space again"
              sluice retry --down migrations/0004_names.down.sql
              sluice retry --forward --reason "web-1 is mended"
            """)

    @OptionGroup var options: RequestOptions

    @Option(
        help: ArgumentHelp(
            "A down file that counts from now on; may be repeated.", valueName: "file"))
    var down: [String] = []

    @Option(help: RequestOptions.databaseHelp)
    var database: String?

    @Flag(help: "Go forward again instead of back.")
    var forward = false

    func validate() throws {
        if forward, !down.isEmpty {
            throw ValidationError("--down is for the way back, and --forward leaves it: say one")
        }
        try RequestOptions.requireName(ofDatabase: database)
    }

    func run() async throws { try await perform(.standard()) }

    func perform(_ console: Console) async throws {
        var request = RunRequest(request: newRequestIdentifier(), verb: .retry)
        request.forward = forward ? true : nil
        request.database = database.flatMap { DatabaseName($0) }
        let paths = down
        if !paths.isEmpty {
            try await conclude(json: options.json, console: console) { () throws(CommandFailure) in
                request.down = try paths.map { path throws(CommandFailure) in
                    MigrationFile(
                        name: String(path.split(separator: "/").last ?? ""),
                        text: String(
                            decoding: try TextFile.bytes(
                                of: path, what: "down file", limit: MigrationSet.mostBytes),
                            as: UTF8.self))
                }
                return .done
            }
        }
        try await options.send(console, request)
    }
}

struct ResolveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resolve",
        abstract: "Say what was done by hand, so that a run that waits for it goes on.",
        discussion: """
            --undone: on the way back, a migration was undone by hand. --done: on the way forward, it was applied by hand. The database is
            looked at before that is believed, and the ledger is written. --off: a node is switched off for sure, and nothing of it serves;
            it is not waited for until it is heard again. --accept-schema: everything is undone, the schema is not as it was before, and may stay so; or a
            migration tool has not done its part after the lift, which is left to the next release.

            EXAMPLES
              sluice resolve --undone 0004 --reason "the down file fails on rows; column put back by hand"
              sluice resolve --done 0007 --reason "index built by hand at night"
              sluice resolve --off web-3 --reason "pulled out of the rack"
            """)

    @OptionGroup var options: RequestOptions

    @Option(help: ArgumentHelp("A migration that was undone by hand.", valueName: "version"))
    var undone: [String] = []

    @Option(help: ArgumentHelp("A migration that was applied by hand.", valueName: "version"))
    var done: [String] = []

    @Option(help: ArgumentHelp("A node that is off for sure.", valueName: "node"))
    var off: String?

    @Flag(help: "The schema stays as it is, although a way back has not made it what it was.")
    var acceptSchema = false

    @Option(help: RequestOptions.databaseHelp)
    var database: String?

    private var kinds: Int {
        [!undone.isEmpty, !done.isEmpty, off != nil, acceptSchema].count { $0 }
    }

    func validate() throws {
        if kinds != 1 {
            throw ValidationError("say one of --undone, --done, --off and --accept-schema")
        }
        if (options.reason ?? "").isEmpty {
            throw ValidationError(
                "say with --reason what was done: the journal is all that others will know of it")
        }
        if let off, NodeName(off) == nil { throw ValidationError("\(off) is not a node's name") }
        try RequestOptions.requireName(ofDatabase: database)
    }

    func run() async throws { try await perform(.standard()) }

    func perform(_ console: Console) async throws {
        var request = RunRequest(request: newRequestIdentifier(), verb: .resolve)
        let claims =
            undone.map { MigrationClaim(version: $0, state: .undone) }
            + done.map { MigrationClaim(version: $0, state: .done) }
        request.claims = claims.isEmpty ? nil : claims
        request.off = off.flatMap { NodeName($0) }
        request.acceptSchema = acceptSchema ? true : nil
        request.database = database.flatMap { DatabaseName($0) }
        try await options.send(console, request)
    }
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
