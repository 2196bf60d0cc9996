// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ControlAPI
import CoordinatorProgram
import Operator

/// Upgrades a fleet while its readers keep reading.
@main
struct Sluice: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluice", abstract: "Upgrade a fleet while its readers keep reading.",
        version: programVersion, subcommands: operatorCommands,
        groupedSubcommands: [
            CommandGroup(
                name: "On the coordinator's machine",
                subcommands: [CoordinatorCommand.self, TokenCommand.self, JournalCommand.self])
        ])

    static func main() async { await launch(Sluice.self) }
}
