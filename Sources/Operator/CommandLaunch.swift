// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
internal import Documents
internal import Glibc
internal import UpgradeModel

/// Runs the program: reads its arguments, and says what is wrong with them without repeating a token.
public func launch(_ program: (some AsyncParsableCommand).Type) async -> Never {
    let arguments = Array(CommandLine.arguments.dropFirst())
    let console = Console.standard()
    if let lines = misspelling(in: arguments, of: program) {
        for line in lines { console.errorLine(line) }
        exit(64)
    }
    do {
        var command = try program.parseAsRoot(arguments)
        if var command = command as? any AsyncParsableCommand {
            try await command.run()
        } else {
            try command.run()
        }
        exit(0)
    } catch {
        let code = program.exitCode(for: error)
        let message = program.fullMessage(for: error)
        if code.isSuccess {
            // Help, a version, or a script for completion: as it was made.
            if !message.isEmpty { console.line(message) }
        } else {
            for line in message.isEmpty ? [] : printableLines(message) { console.errorLine(line) }
        }
        exit(code.rawValue)
    }
}

/// What to say to a command that does not exist; `nil` when the first argument may be one.
func misspelling(in arguments: [String], of program: any ParsableCommand.Type) -> [String]? {
    guard let word = arguments.first, !word.hasPrefix("-"), word != "help" else { return nil }
    let commands = program.configuration.subcommands.compactMap { $0.configuration.commandName }
    guard !commands.contains(word) else { return nil }
    let name = program.configuration.commandName ?? ""
    let near = nearest(to: word, among: commands).map { "did you mean `\(name) \($0)`? " } ?? ""
    return [
        "\(name): error: there is no command \(printable(word))",
        "\(name): next: \(near)All of them: \(name) --help",
    ]
}
