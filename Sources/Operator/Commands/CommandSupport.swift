// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import ControlAPI
internal import FoundationEssentials
internal import UpgradeModel

/// Runs a command and turns how it ended into lines and an exit code.
func conclude(
    json: Bool, console: Console, _ command: () async throws(CommandFailure) -> CommandExit
) async throws {
    let exit: CommandExit
    do throws(CommandFailure) { exit = try await command() } catch {
        for line in error.lines { console.errorLine(line) }
        if json { console.line(jsonLine(error.record)) }
        throw ExitCode(error.exit.rawValue)
    }
    if exit != .done { throw ExitCode(exit.rawValue) }
}

/// An identifier that the coordinator takes once, however often it is sent.
func newRequestIdentifier() -> String { UUID().uuidString.lowercased() }

extension CoordinatorClient {
    /// Watches a run, as `apply` and `status --watch` do.
    func watch(
        _ run: RunIdentifier, json: Bool, _ console: Console
    ) async throws(CommandFailure) -> CommandExit {
        let style = WatchStyle(json: json, console: console)
        return try await Watch(
            follower: RunFollower(client: self, run: run, nodes: style.nodes), style: style,
            console: console
        ).perform()
    }

    /// The run that a command is about: the one given, or the only one in progress.
    ///
    /// - Parameter advice: what to do next when none is in progress.
    func chosenRun(
        _ given: String?, orElse advice: String
    ) async throws(CommandFailure) -> RunIdentifier {
        if let given {
            guard withoutTokens(given) == given else {
                throw CommandFailure(
                    code: "usage", "what stands where the name of a run belongs is a token",
                    advice: "put it into SLUICE_TOKEN or a file; the runs there are: sluice status")
            }
            guard let run = RunIdentifier(given) else {
                throw CommandFailure(
                    code: "usage", "\(printable(given)) is not the name of a run",
                    advice: "see: sluice status")
            }
            return run
        }
        let active = try await runs().filter { !$0.state.isEnded }
        guard let only = active.first else {
            throw CommandFailure(code: "no-run", "no run is in progress", advice: advice)
        }
        guard active.count == 1 else {
            let names = active.map { "\($0.run) (\($0.fleet))" }.joined(separator: ", ")
            throw CommandFailure(
                code: "ambiguous-run", "\(active.count) runs are in progress: \(names)",
                advice: "say which one: add its name to the command")
        }
        return only.run
    }
}
