// SPDX-License-Identifier: Apache-2.0

internal import UpgradeModel

/// Watches a run until it has ended, waits for a person, or the operator goes away.
struct Watch: Sendable {
    let follower: RunFollower
    let style: WatchStyle
    let console: Console
    /// Ends the watching when it returns: Ctrl-C.
    var interruption: @Sendable () async -> Void = Interruption.wait

    private enum End: Sendable {
        case followed(Result<RunState, CommandFailure>)
        case interrupted
        case ticking
    }

    /// - Returns: the exit code of the state that the run was watched to, or `.detached`.
    func perform() async throws(CommandFailure) -> CommandExit {
        let display = WatchDisplay(style, console: console)
        let end = await withTaskGroup(of: End.self) { group in
            group.addTask { await follow(display) }
            group.addTask { [interruption] in
                await interruption()
                return .interrupted
            }
            if style != .json {
                let pause = style == .live ? Duration.milliseconds(100) : .seconds(1)
                group.addTask {
                    while !Task.isCancelled {
                        try? await Task.sleep(for: pause)
                        if style == .lines { await display.tellCounts() }
                        await display.draw()
                    }
                    return .ticking
                }
            }
            let first = await group.next() ?? .interrupted
            group.cancelAll()
            return first
        }
        switch end {
        case .followed(.success(let state)):
            return await display.end(state) ?? .error
        case .followed(.failure(let failure)):
            await display.end(nil)
            throw failure
        case .interrupted, .ticking:
            await display.end(nil)
            console.errorLine(
                "sluice: detached; run \(follower.run) goes on. Watch it again: sluice status \(follower.run) --watch"
            )
            return .detached
        }
    }

    private func follow(_ display: WatchDisplay) async -> End {
        do throws(CommandFailure) {
            return .followed(.success(try await follower.follow { await display.handle($0) }))
        } catch { return .followed(.failure(error)) }
    }
}
