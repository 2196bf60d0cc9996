// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import ControlAPI
internal import UpgradeModel
internal import UpgradePlan

struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract:
            "Show what a plan will do, in order, on each node and in the database. Touches nothing.",
        discussion: """
            Asks the coordinator which nodes there are and what they serve, and what its database would say in preflight; without \
            it, shows what the plan alone says. The steps are those that a run takes. Exit code 3: a run would be refused.

            EXAMPLES
              sluice plan plans/guestbook-v2.yaml
              sluice plan plan.yaml --detailed-exitcode   # 0 nothing to do, 2 changes pending, 1 error, 3 not valid
            """)

    @Argument(help: "The plan.", completion: .file(extensions: ["yaml", "yml"]))
    var plan: String

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(name: .customLong("detailed-exitcode"), help: "Exit with 2 when changes are pending.")
    var detailedExitCode = false

    @Flag(help: "Do not ask the coordinator.")
    var offline = false

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await perform(.standard())
    }

    func perform(_ console: Console) async throws {
        try await conclude(json: json, console: console) { () throws(CommandFailure) in
            let prepared = try await PreparedPlan.read(plan, console)
            let forecast = Forecast(prepared, world: try await world(of: prepared, console))
            if json {
                console.line(jsonLine(forecast))
            } else {
                console.lines(ForecastText.lines(forecast, width: console.width))
            }
            if forecast.isRefused { return .refused }
            return detailedExitCode && forecast.isPending == true ? .pending : .done
        }
    }

    private func world(
        of prepared: PreparedPlan, _ console: Console
    ) async throws(CommandFailure) -> Forecast.World? {
        if offline && !detailedExitCode { return nil }
        let client = CoordinatorClient(try connection.resolved())
        do throws(CommandFailure) {
            return try await client.world(of: prepared, console)
        } catch {
            // Whether anything is pending cannot be said then.
            if detailedExitCode { throw error }
            console.errorLine(
                "sluice: warning: \(printable(error.message)); showing what the plan alone says")
            return nil
        }
    }
}

extension CoordinatorClient {
    func world(of fleet: FleetName) async throws(CommandFailure) -> Forecast.World {
        let holder = try await runs().first { $0.fleet == fleet && !$0.state.isEnded }
        return Forecast.World(nodes: try await nodes(), holder: holder)
    }

    /// The same with the plan's databases, which are asked through the coordinator.
    func world(
        of prepared: PreparedPlan, _ console: Console
    ) async throws(CommandFailure) -> Forecast.World {
        var world = try await world(of: prepared.plan.fleet)
        // A database that a run is at work on says nothing but that.
        guard !prepared.plan.databases.isEmpty, world.holder == nil else { return world }
        world.lastWindow = await lastWindow(of: prepared.plan.fleet)
        do throws(CommandFailure) {
            let findings = try await console.during("the coordinator looks at the database") {
                () throws(CommandFailure) in
                try await databaseFindings(prepared.databaseQuestion)
            }
            world.database = findings ?? [.databaseNotAsked("the coordinator is older")]
        } catch {
            world.database = [.databaseNotAsked(error.message)]
        }
        return world
    }
}

extension CoordinatorClient {
    /// How long writes were closed in the last run of a fleet that was done; `nil` where nobody can say.
    private func lastWindow(of fleet: FleetName) async -> Forecast.PastWindow? {
        let done = try? await runs().filter { $0.fleet == fleet && $0.state == .done }
        guard let last = done?.max(by: { $0.createdAt < $1.createdAt }),
            case .known(let view)? = try? await run(last.run),
            let opened = view.windowOpened, let closed = view.windowClosed
        else { return nil }
        return Forecast.PastWindow(run: last.run, release: last.release, length: closed - opened)
    }
}

extension Diagnostic {
    fileprivate static func databaseNotAsked(_ reason: String) -> Diagnostic {
        Diagnostic(
            .warning, code: "database-not-asked", "the database was not asked: \(reason)",
            advice: "a run asks it in preflight, before anything is touched")
    }
}
