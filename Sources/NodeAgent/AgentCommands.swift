// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ArgumentParser
import Files
import ControlAPI
@preconcurrency import Dispatch
import FoundationEssentials
import Glibc
import Logging
import PrintableLog
import Synchronization
import UpgradeModel

/// The commands of `sluice-agent`.
public enum SluiceAgent {
    public static func main() async { await AgentCommand.main() }
}

struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluice-agent",
        abstract: "Keeps a web node as the coordinator says it should be.",
        version: programVersion,
        subcommands: [
            Run.self, Check.self, Status.self, BreakGlass.self, Adopt.self, Prune.self,
        ])

    /// What every command knows.
    struct Options: ParsableArguments {
        @Option(help: "The agent's configuration.")
        var config = "/etc/sluice/agent.yaml"

        /// Reads the configuration; prints what is wrong with it and ends when that is an error.
        func read() throws -> AgentConfiguration {
            let (configuration, findings) = AgentConfiguration.read(file: config)
            for finding in findings { printError("\(finding)") }
            guard let configuration else { throw ExitCode(1) }
            let problems = configuration.trustProblems
            for problem in problems { printError("\(config): error: \(problem) [trust]") }
            guard problems.isEmpty else { throw ExitCode(1) }
            return configuration
        }

        /// The same, and what is to be thought of besides.
        func readWithWarnings() throws -> AgentConfiguration {
            let configuration = try read()
            if let problem = configuration.directoryTrustProblem {
                printError("\(config): warning: `directories.app`: \(problem) [trust]")
            }
            return configuration
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Run the agent.")
        @OptionGroup var options: Options
        @Option(help: "trace, debug, info, notice, warning, error or critical.")
        var logLevel = "info"

        func run() async throws {
            guard let level = Logger.Level(rawValue: logLevel) else {
                throw ValidationError("`\(logLevel)` is not a log level")
            }
            signal(SIGPIPE, SIG_IGN)
            let configuration = try options.readWithWarnings()
            LoggingSystem.bootstrap(PrintableLogHandler.init(label:))
            var logger = Logger(label: "sluice-agent")
            logger.logLevel = level
            let log = logger
            let signals = StopSignals()
            do throws(SystemFailure) {
                try await AgentStart(configuration: configuration, logger: logger).run { stop in
                    signals.arm {
                        log.notice("stopping; the gate stays as it is")
                        stop()
                        unlink(configuration.localSocket)
                        // What an action does now goes on without the agent; the next one finds out how it ended.
                        endAtOnce()
                    }
                }
            } catch {
                logger.critical("\(error)")
                throw ExitCode(1)
            }
        }
    }

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say everything that is wrong with the configuration, touching nothing.")
        @OptionGroup var options: Options

        func run() throws {
            let configuration = try options.readWithWarnings()
            do throws(SystemFailure) { _ = try readToken(configuration.coordinator.token) } catch {
                printError("\(options.config): error: \(error)")
                throw ExitCode(1)
            }
            print("\(options.config) is in order")
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what the running agent does.")
        @OptionGroup var options: Options
        @Flag(help: "As one line of JSON.")
        var json = false

        func run() throws {
            let configuration = try options.read()
            show(try ask(LocalRequest(verb: .status), configuration), json: json)
        }
    }

    struct BreakGlass: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "break-glass",
            abstract: "Open this node's gate against the coordinator's word, or end that.",
            discussion: """
                For a node that stays read-only because the coordinator is gone for good. While a migration may be under \
                way the fence in the database still refuses writes; what the gate lets through may fail there. The \
                coordinator is told as soon as it is reached, and stops the run for a person to decide.
                """,
            subcommands: [Open.self, End.self])

        struct Open: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Open the gate now, whatever the directive.")
            @OptionGroup var options: Options
            @Option(help: "Why; goes into the journal and to the coordinator.")
            var reason: String

            func run() throws {
                let configuration = try options.read()
                let request = LocalRequest(verb: .openBreakGlass, reason: "\(reason) (\(person()))")
                show(try ask(request, configuration), json: false)
            }
        }

        struct End: ParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Follow the directive again.")
            @OptionGroup var options: Options

            func run() throws {
                let configuration = try options.read()
                show(try ask(LocalRequest(verb: .endBreakGlass), configuration), json: false)
            }
        }
    }
}

/// Who runs this command, for the journal.
private func person() -> String {
    if let name = getenv("SUDO_USER") { return "\(String(cString: name)) through sudo" }
    guard let entry = getpwuid(getuid()) else { return "user \(getuid())" }
    return String(cString: entry.pointee.pw_name)
}

private func ask(_ request: LocalRequest, _ configuration: AgentConfiguration) throws -> LocalReport
{
    do throws(SystemFailure) {
        return try LocalSocket.ask(request, at: configuration.localSocket)
    } catch {
        printError("\(error); is the agent running? `systemctl status sluice-agent`")
        for (flag, requests) in [("read-only", "writes"), ("hold-reads", "reads")] {
            let file = "\(configuration.directories.runtime)/\(flag)"
            guard access(file, F_OK) == 0 else { continue }
            printError(
                "meanwhile the proxy refuses \(requests), because \(file) is there; docs/agent.md says when it "
                    + "may be removed by hand")
        }
        throw ExitCode(1)
    }
}

private func show(_ report: LocalReport, json: Bool) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if json, let bytes = try? encoder.encode(report) {
        print(String(decoding: bytes, as: UTF8.self))
    } else {
        print(report.text)
    }
}

/// Line by line, each made printable: much of it quotes others.
func printError(_ text: String) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    let shown = lines.map { printable(String($0)) + "\n" }.joined()
    try? writeAll(shown.utf8, to: STDERR_FILENO, "standard error")
}

/// Ends the program without what libraries do at an exit: a thread that is still at work would find libcrypto gone, and die of that.
private func endAtOnce() -> Never { _exit(0) }

/// SIGTERM and SIGINT, taken on a queue of their own. Until something is armed they end the program.
private final class StopSignals: Sendable {
    private let action = Mutex<@Sendable () -> Void>({ endAtOnce() })
    private let sources: [any DispatchSourceSignal]

    init() {
        let queue = DispatchQueue(label: "signals")
        sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: queue)
        }
        for source in sources {
            source.setEventHandler { [weak self] in
                guard let self else { return }
                self.action.withLock { $0 }()
            }
            source.activate()
        }
    }

    func arm(_ action: @escaping @Sendable () -> Void) { self.action.withLock { $0 = action } }
}
