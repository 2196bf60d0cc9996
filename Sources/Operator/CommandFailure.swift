// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import UpgradeModel

/// The exit codes of every command.
enum CommandExit: Int32, Sendable {
    /// Done, or nothing to do.
    case done = 0
    case error = 1
    /// Changes are pending; only with `--detailed-exitcode`.
    case pending = 2
    /// Refused before anything was touched.
    case refused = 3
    /// Failed and rolled back.
    case rolledBack = 4
    /// Stopped, and waiting for a person.
    case waiting = 5
    /// Done, but for databases that are left out: a person has to put them right.
    case leftOut = 6
    /// Ctrl-C or SIGTERM ended the watching; the run goes on. As shells have it for SIGINT: neither done nor failed.
    case detached = 130

    /// What a command that watched a run to this state ends with; `nil` while there is more to watch.
    ///
    /// - Parameter leavesOut: whether databases are left out of it.
    init?(_ state: RunState, leavesOut: Bool = false) {
        switch state {
        case .done where leavesOut: self = .leftOut
        case .done: self = .done
        case .refused: self = .refused
        case .rolledBack: self = .rolledBack
        case .waiting, .awaitingApproval: self = .waiting
        case .running, .rollingBack, .paused: return nil
        }
    }
}

/// Why a command did not do what it was asked: what, where, and what to do next.
struct CommandFailure: Error, Hashable, Sendable {
    var exit: CommandExit
    /// A stable word for programs.
    var code: String
    var message: String
    var advice: String?
    var diagnostics: [Diagnostic]
    /// Whether the same request may succeed in a moment: the coordinator is away, or busy.
    var isTransient: Bool

    init(
        _ exit: CommandExit = .error, code: String, _ message: String, advice: String? = nil,
        diagnostics: [Diagnostic] = [], isTransient: Bool = false
    ) {
        self.exit = exit
        self.code = code
        self.message = withoutTokens(message)
        self.advice = advice.map(withoutTokens)
        self.diagnostics = diagnostics
        self.isTransient = isTransient
    }
}

extension CommandFailure {
    /// For people: the findings, then what is wrong, then what to do.
    var lines: [String] {
        diagnostics.flatMap { printableLines($0.description) }
            + printableLines("sluice: error: \(message)")
            + (advice.map { printableLines("sluice: next: \($0)") } ?? [])
    }

    /// For programs, as one line of NDJSON.
    var record: Record {
        Record(
            code: code, message: message, advice: advice, diagnostics: diagnostics,
            exitCode: exit.rawValue)
    }

    struct Record: Codable, Hashable, Sendable {
        var type = "error"
        var code: String
        var message: String
        var advice: String?
        var diagnostics: [Diagnostic]
        var exitCode: Int32
    }
}
