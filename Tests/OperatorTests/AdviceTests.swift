// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Operator
import Testing

/// Whatever command the product names in a sentence can be typed as it stands.
@Suite struct AdviceTests {
    struct Command: CustomStringConvertible, Sendable {
        var file: String
        var text: String
        var description: String { "\(file): \(text)" }
    }

    /// Commands of other rooms, which are parsed there.
    private static let others: Set<String> = ["coordinator", "token"]

    /// The lines of the sources that are no comments, with the file of each.
    private static let lines: [(file: String, line: Substring)] = {
        let sources = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Sources")
        let files = FileManager.default.enumerator(atPath: sources.path)
        var found: [(String, Substring)] = []
        while let name = files?.nextObject() as? String {
            guard name.hasSuffix(".swift"),
                let text = try? String(contentsOf: sources.appending(path: name), encoding: .utf8)
            else { continue }
            for line in text.split(separator: "\n")
            where !line.trimmingPrefix(while: \.isWhitespace).hasPrefix("//") {
                found.append((name, line))
            }
        }
        return found
    }()

    /// Every `sluice …` in backticks in their strings; what is filled in stands as a word.
    static let commands: [Command] = lines.flatMap { file, line in
        line.matches(of: /`(sluice [^`]*)`/).map { match in
            let filled = match.1.replacing(/\\\([^)]*\)/, with: "w1")
            return Command(file: file, text: String(filled))
        }
    }

    /// What becomes of the run, its plan says: the database does not know whether a step can be tried again, or a run begun anew.
    @Test func noAdviceAboutTheDatabaseSaysWhatARunDoesNext() {
        let verbs = Self.lines.filter {
            $0.file.hasPrefix("SchemaUpgrade/")
                && $0.line.contains(/start anew|(then|and) retry|"retry|'retry/)
        }
        #expect(verbs.map { "\($0.file): \($0.line)" } == [])
    }

    @Test func thereAreAdvicesToCheck() { #expect(Self.commands.count > 25) }

    @Test(arguments: commands) func aCommandThatIsAdvisedParses(command: Command) throws {
        let words = command.text.split(separator: " ").dropFirst().map(String.init)
        let name = try #require(words.first)
        if Self.others.contains(name) { return }
        let type = try #require(
            operatorCommands.first { $0.configuration.commandName == name }, "no such command")
        _ = try type.parse(Array(words.dropFirst()))
    }
}
