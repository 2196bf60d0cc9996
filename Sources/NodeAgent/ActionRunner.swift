// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ContentDigest
import Files
import Glibc
import Subprocess
import UpgradeModel

/// Runs the commands that the configuration allows: a fixed argument array, an environment made from nothing, a session of its
/// own, a time limit, an output limit. Never a shell.
struct ActionRunner: Sendable {
    /// Where the whole output of each task goes, up to its limit.
    var outputDirectory: String

    /// What an action is told about its task.
    struct Context: Sendable {
        var identity: TaskIdentity
        var run: RunIdentifier?
        var release: ReleaseReference?
        var releaseDirectory: String?
        var socket: String?
        /// What the release names, where it is no bundle but a version.
        var version: String?
        /// The cache generation that the release is served under, or will be.
        var generation: CacheGeneration?
        /// Which of the plan's databases a migration tool is for.
        var database: DatabaseName?
        /// What the action gets beside what is its own.
        var environment: [String: String] = [:]
        /// Text that leaves the node in no output.
        var secret: String?
        /// Whether the beginning of its output is wanted.
        var isPreview = false
        /// The last line that it has said so far.
        var onOutput: @Sendable (String) -> Void = { _ in }
    }

    /// How long a process that ran out of time may take to end by itself.
    static let grace = Duration.seconds(3)

    /// Runs an action to its end and says how it went.
    func run(_ action: Action, _ context: Context) async -> TaskOutcome {
        guard let arguments = arguments(action.command, context) else {
            return refusal(
                context,
                "the task has no release, version, generation or database, and the action needs one"
            )
        }
        let keeper: OutputKeeper
        do throws(SystemFailure) {
            keeper = try OutputKeeper(file: outputFile(context.identity), limit: action.outputLimit)
        } catch {
            return refusal(context, "its output cannot be kept: \(error)")
        }
        let start = ContinuousClock.now
        let ending = await run(arguments, action, context, keeper)
        let elapsed = Span(milliseconds: Int64((ContinuousClock.now - start) / .milliseconds(1)))
        var output = concealed(keeper.tail(TaskOutcome.outputLimit), context)
        if case .failed(let reason) = ending {
            output = TaskOutcome.text(output, endingWith: reason)
        }
        switch ending {
        case .done:
            var done = outcome(context, .done, output, elapsed)
            if context.isPreview { done.preview = keeper.beginning() }
            return done
        case .failed: return outcome(context, .failed, output, elapsed)
        case .notStarted(let reason): return refusal(context, reason)
        }
    }

    /// Asks an action's probe whether the action took effect.
    ///
    /// - Returns: `nil` when it cannot say.
    func probe(_ action: Action, _ context: Context) async -> Bool? {
        guard let probe = action.probe, let arguments = arguments(probe, context),
            let keeper = try? OutputKeeper(
                file: outputFile(context.identity) + ".probe", limit: 65_536)
        else { return nil }
        var bounded = action
        bounded.timeout = min(action.timeout, .seconds(30))
        switch await status(arguments, bounded, context, keeper) {
        case .exited(0): return true
        case .exited(1): return false
        case .exited, .signalled, .timedOut, .notStarted: return nil
        }
    }

    /// Waits until a process of this task that outlived its agent has ended, for at most the action's timeout; then ends it.
    ///
    /// Without it the action could run twice at once: what survives a kill of the agent is its child.
    func awaitSurvivor(_ action: Action, _ identity: TaskIdentity) async {
        let file = lockFile(identity)
        let deadline = ContinuousClock.now + .milliseconds(action.timeout.milliseconds)
        while !Task.isCancelled {
            if ActionLock(file: file) != nil { return }
            let late = ContinuousClock.now - deadline
            if late > ActionRunner.grace { return }
            if late > .zero { ActionLock.killHolders(of: file) }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Ends the processes of this task that have outlived their agent.
    func endSurvivors(_ identity: TaskIdentity) { ActionLock.killHolders(of: lockFile(identity)) }

    private func concealed(_ text: String, _ context: Context) -> String {
        context.secret.map { text.replacing($0, with: "(secret)") } ?? text
    }

    private func lockFile(_ identity: TaskIdentity) -> String { outputFile(identity) + ".lock" }

    /// The file with a task's whole output, by the digest of its identity: an identity is text from outside.
    func outputFile(_ identity: TaskIdentity) -> String {
        "\(outputDirectory)/\(Digest.sha256(of: identity.rawValue).short).log"
    }

    private enum Ending { case done, failed(String), notStarted(String) }

    private func run(
        _ arguments: [String], _ action: Action, _ context: Context, _ keeper: OutputKeeper
    ) async -> Ending {
        switch await status(arguments, action, context, keeper) {
        case .exited(0): .done
        case .exited(let code): .failed("exit status \(code)")
        case .signalled(let signal): .failed("ended by signal \(signal)")
        case .timedOut: .failed("did not end within \(action.timeout) and was killed")
        case .notStarted(let reason): .notStarted(reason)
        }
    }

    private func refusal(_ context: Context, _ reason: String) -> TaskOutcome {
        outcome(context, .notStarted, reason, nil)
    }

    private func outcome(
        _ context: Context, _ state: TaskOutcome.State, _ output: String, _ duration: Span?
    ) -> TaskOutcome {
        TaskOutcome(identity: context.identity, state: state, output: output, duration: duration)
    }

    /// - Returns: `nil` when the task has no release and the command needs one.
    private func arguments(_ command: [Action.Argument], _ context: Context) -> [String]? {
        var arguments: [String] = []
        for argument in command {
            let value: String? =
                switch argument {
                case .text(let text): text
                case .release: context.release?.name.rawValue
                case .releaseDirectory: context.releaseDirectory
                case .socket: context.socket
                case .version: context.version
                case .generation: context.generation.map { "\($0.rawValue)" }
                case .database: context.database?.rawValue
                }
            guard let value else { return nil }
            arguments.append(value)
        }
        return arguments
    }

    private func environment(_ action: Action, _ context: Context) -> Environment {
        var values: [Environment.Key: String] = ["PATH": Account.searchPath, "LANG": "C.UTF-8"]
        for name in action.environment {
            if let value = getenv(name), let key = Environment.Key(rawValue: name) {
                values[key] = String(cString: value)
            }
        }
        values["SLUICE_TASK"] = context.identity.rawValue
        values["SLUICE_RUN"] = context.run?.rawValue ?? ""
        if let release = context.release { values["SLUICE_RELEASE"] = release.name.rawValue }
        if let database = context.release?.database {
            values["SLUICE_DATABASE"] = database.rawValue
        }
        if let directory = context.releaseDirectory { values["SLUICE_RELEASE_DIR"] = directory }
        if let socket = context.socket { values["SLUICE_SOCKET"] = socket }
        if let version = context.version { values["SLUICE_VERSION"] = version }
        if let database = context.database {
            values["SLUICE_DATABASE_NAME"] = database.rawValue
        }
        if let generation = context.generation {
            values["SLUICE_GENERATION"] = "\(generation.rawValue)"
        }
        for (name, value) in context.environment {
            if let key = Environment.Key(rawValue: name) { values[key] = value }
        }
        return .custom(values)
    }
}

// MARK: - The process

extension ActionRunner {
    private enum ProcessEnding: Sendable {
        case exited(Int32), signalled(Int32), timedOut, notStarted(String)
    }

    private func status(
        _ arguments: [String], _ action: Action, _ context: Context, _ keeper: OutputKeeper
    ) async -> ProcessEnding {
        await withTaskGroup(of: ProcessEnding.self) { group in
            group.addTask { await execute(arguments, action, context, keeper) }
            group.addTask {
                try? await Task.sleep(for: .milliseconds(action.timeout.milliseconds))
                return .timedOut
            }
            let first = await group.next() ?? .timedOut
            // Ends the sleep, or the process.
            group.cancelAll()
            await group.waitForAll()
            if case .timedOut = first { keeper.endGroup() }
            return first
        }
    }

    /// A child of somebody else's between its fork and its exec may have the last lock for a moment, hence the patience.
    private func lock(_ identity: TaskIdentity) async -> ActionLock? {
        for _ in 0..<100 {
            if let lock = ActionLock(file: lockFile(identity)) { return lock }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return nil
    }

    /// Ends when the process itself ends, even when a child of it still has the output open.
    private func execute(
        _ arguments: [String], _ action: Action, _ context: Context, _ keeper: OutputKeeper
    ) async -> ProcessEnding {
        var options = PlatformOptions()
        // A session of its own is a group of its own, which can be ended as a whole.
        options.createSession = true
        options.teardownSequence = [
            .send(
                signal: .terminate, toProcessGroup: true,
                allowedDurationToNextStep: ActionRunner.grace)
        ]
        guard access(arguments[0], X_OK) == 0 else {
            return .notStarted("cannot run \(arguments[0]): \(String(cString: strerror(errno)))")
        }
        var arguments = arguments
        if let user = action.user, user.user != geteuid() {
            guard let setpriv = Account.setpriv else {
                return .notStarted("cannot become \(user.name): there is no setpriv")
            }
            arguments = user.prefix(setpriv: setpriv) + arguments
        }
        guard let lock = await lock(context.identity) else {
            return .notStarted("a process of this task is still there, or its lock cannot be made")
        }
        defer { withExtendedLifetime(lock) {} }
        let standardInput = lock.descriptor
        do {
            let result = try await Subprocess.run(
                .path(literal(arguments[0])), arguments: Arguments(Array(arguments.dropFirst())),
                environment: environment(action, context), platformOptions: options,
                input: .fileDescriptor(value(standardInput), closeAfterSpawningProcess: false),
                output: .sequence,
                error: .combinedWithOutput
            ) { execution in
                keeper.began(execution.processIdentifier.value)
                do {
                    for try await buffer in execution.standardOutput {
                        // SAFETY: the bytes are copied before the call returns.
                        buffer.withUnsafeBytes { keeper.add($0) }
                        context.onOutput(concealed(keeper.lastLine(), context))
                    }
                } catch {
                    // The pipe was taken away because the process has ended: what came, came.
                }
            }
            switch result.terminationStatus {
            case .exited(let code): return .exited(code)
            case .signaled(let signal): return .signalled(signal)
            }
        } catch let error as SubprocessError {
            return .notStarted("cannot run \(arguments[0]): \(error)")
        } catch {
            return .notStarted("cannot run \(arguments[0])")
        }
    }
}

/// A descriptor from its number: the type belongs to a package that only Subprocess uses, as that of paths does.
private func value<Descriptor: RawRepresentable>(_ number: Int32) -> Descriptor
where Descriptor.RawValue == Int32 {
    guard let descriptor = Descriptor(rawValue: number) else {
        preconditionFailure("any number is one")
    }
    return descriptor
}

/// A path from a text.
private func literal<Path: ExpressibleByStringLiteral>(_ text: String) -> Path
where Path.StringLiteralType == String {
    Path(stringLiteral: text)
}
