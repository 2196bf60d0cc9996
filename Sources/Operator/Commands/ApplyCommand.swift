// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import ControlAPI
internal import Releases
internal import Synchronization
internal import UpgradeEngine
internal import UpgradeModel
internal import UpgradePlan

struct ApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract:
            "Carry out a plan: bring the bundle to the coordinator, start a run and watch it.",
        discussion: """
            The run belongs to the coordinator: it goes on when this command ends, and Ctrl-C only ends the watching. On a terminal \
            the run is watched unless --no-watch is given; in a pipe it is started only, unless --watch is given.

            Exit codes: 0 done (or started, without watching); 1 error; 3 refused before anything was touched; 4 failed and rolled \
            back; 5 stopped and waiting for a person; 130 Ctrl-C, the run goes on.

            EXAMPLES
              sluice apply plans/guestbook-v2.yaml
              sluice apply plan.yaml --watch --yes | tee run.log
              sluice apply plan.yaml --watch --json | jq -r 'select(.type == "ended").state'
            """)

    @Argument(help: "The plan.", completion: .file(extensions: ["yaml", "yml"]))
    var plan: String

    @Flag(inversion: .prefixedNo, help: "Watch the run to its end. (default: on a terminal)")
    var watch: Bool?

    @Flag(help: "Do not ask before starting. Only a terminal is asked.")
    var yes = false

    @Flag(help: "Print NDJSON.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await perform(.standard())
    }

    func perform(_ console: Console) async throws {
        try await conclude(json: json, console: console) { () throws(CommandFailure) in
            let client = CoordinatorClient(try connection.resolved())
            let prepared = try await PreparedPlan.read(plan, console)
            // The first word to the coordinator is not tried again: it is not there, or not to be reached.
            // Somebody who is asked sees what preflight would find; the run of all others says so itself.
            let world =
                isAsking(console)
                ? try await client.world(of: prepared, console)
                : try await client.world(of: prepared.plan.fleet)
            // What is certain to be refused is refused before a large bundle is brought there.
            if let holder = world.holder { throw ApplyCommand.held(by: holder) }
            if let refusal = Forecast.refusal(of: prepared.plan, world) {
                throw CommandFailure(
                    .refused, code: refusal.code, refusal.message, advice: refusal.advice)
            }
            let forecast = Forecast(prepared, world: world)
            guard isConfirmed(forecast, console) else {
                console.errorLine("sluice: nothing was started")
                return .refused
            }
            let patient = client.patient(for: .seconds(30))
            try await upload(prepared, patient, console)
            let start = prepared.start(request: newRequestIdentifier())
            let view = try await console.during("the coordinator looks over the plan") {
                () throws(CommandFailure) in try await patient.start(start)
            }
            return try await attend(view.run, client, console)
        }
    }

    /// One run a fleet at a time. The coordinator says so too, should another operator be quicker.
    private static func held(by run: RunSummary) -> CommandFailure {
        CommandFailure(
            .refused, code: "fleet-held",
            "the fleet \(run.fleet) is held by run \(run.run) of \(run.startedBy) since \(run.createdAt.text); it is \(run.state.title), phase \(run.phase)",
            advice:
                "see how it stands and what leads on with `sluice status \(run.run)`, or watch it to its end with `sluice status \(run.run) --watch`"
        )
    }

    private func isAsking(_ console: Console) -> Bool { !yes && !json && console.isInteractive }

    private func isConfirmed(_ forecast: Forecast, _ console: Console) -> Bool {
        if !isAsking(console) {
            for finding in forecast.findings { console.errorLine(printable(finding.description)) }
            return true
        }
        console.lines(ForecastText.lines(forecast, width: console.width))
        console.write("\nStart this run? [y/N] ")
        let answer = console.readLine()?.lowercased()
        return answer == "y" || answer == "yes"
    }

    private func upload(
        _ prepared: PreparedPlan, _ client: CoordinatorClient, _ console: Console
    ) async throws(CommandFailure) {
        let isShown = console.isTerminal && !json
        var frame = LiveFrame()
        let state = Mutex("bringing the bundle")
        func upload() async throws(CommandFailure) -> Upload.Progress {
            try await Upload(client: client, prepared: prepared).perform { progress in
                let line =
                    "bundle: \(progress.blobsDone)/\(progress.blobs) files, "
                    + "\(bytes(progress.bytesDone)) of \(bytes(progress.bytes))"
                state.withLock { $0 = line }
                if isShown { console.write(frame.update([line])) }
            }
        }
        // A terminal has the line above; what is read later gets one now and then.
        let progress =
            isShown
            ? try await upload() : try await console.during(state.withLock { $0 }, upload)
        if isShown { console.write(frame.end()) }
        let rest = progress.blobs - progress.blobsSent
        console.errorLine(
            "sluice: bundle \(prepared.release.name): sent \(counted(progress.blobsSent, "file")) "
                + "(\(bytes(progress.bytesSent))), \(rest) were there")
    }

    private func attend(
        _ run: RunIdentifier, _ client: CoordinatorClient, _ console: Console
    ) async throws(CommandFailure) -> CommandExit {
        if json { console.line(jsonLine(WatchRecord.Started(run: run))) }
        guard watch ?? console.isTerminal else {
            if !json { console.line("run \(run)") }
            console.errorLine("sluice: started; watch it: sluice status \(run) --watch")
            return .done
        }
        return try await client.watch(run, json: json, console)
    }
}
