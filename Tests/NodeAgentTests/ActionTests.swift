// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import FoundationEssentials
import Glibc
import Releases
import Synchronization
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

@Suite(.timeLimit(.minutes(5))) struct ActionTests {
    let directory: String
    let runner: ActionRunner

    init() throws {
        directory = try TemporaryDirectory().path
        runner = ActionRunner(outputDirectory: directory)
    }

    private func action(
        _ command: [String], timeout: Span = .seconds(20), limit: Int = 1 << 20,
        environment: [String] = [],
        probe: [String]? = nil, repeatable: Bool = false
    ) -> Action {
        Action(
            command: command.map { Action.Argument($0) }, user: nil, timeout: timeout,
            outputLimit: limit,
            environment: environment, isRepeatable: repeatable,
            probe: probe?.map { Action.Argument($0) })
    }

    /// Threads begin and end meanwhile, as they do in an agent that has just started.
    @Test(.enabled(if: geteuid() == 0, "only root can become another"))
    func anActionBecomesItsUserWhateverTheAgentsThreadsDo() async throws {
        chmod(directory, 0o755)
        var asNobody = action(["/usr/bin/id"])
        let nobody = try #require(getpwnam("nobody")?.pointee)
        asNobody.user = Account(
            name: "nobody", user: nobody.pw_uid, group: nobody.pw_gid, groups: [nobody.pw_gid, 12])
        let churn = ThreadChurn()
        async let over: Void = churn.run()
        for _ in 0..<60 {
            let outcome = await run(asNobody)
            #expect(outcome.state == .done)
            #expect(outcome.output.hasPrefix("uid=\(nobody.pw_uid)(nobody) gid=\(nobody.pw_gid)("))
            #expect(outcome.output.contains("12("))
            #expect(!outcome.output.contains("root"))
        }
        churn.isOver.store(true, ordering: .relaxed)
        await over
    }

    private final class ThreadChurn: Sendable {
        let isOver = Atomic(false)

        func run() async {
            while !isOver.load(ordering: .relaxed) {
                var thread = pthread_t()
                if pthread_create(&thread, nil, { _ in nil }, nil) == 0 {
                    pthread_join(thread, nil)
                }
                await Task.yield()
            }
        }
    }

    private func run(_ action: Action, release: ReleaseReference? = nil) async -> TaskOutcome {
        await runner.run(
            action,
            ActionRunner.Context(
                identity: identity("t/1"), run: RunIdentifier(unchecked: "r"), release: release,
                releaseDirectory: release.map { _ in "/rel" }, socket: release.map { _ in "/sock" })
        )
    }

    @Test func outputAndStatusAreKept() async {
        let outcome = await run(action(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]))
        #expect(outcome.state == .failed)
        #expect(outcome.output == "out\nerr\nexit status 3")
        #expect(outcome.duration != nil)
        let good = await run(action(["/bin/sh", "-c", "echo out"]))
        #expect(good.state == .done && good.output == "out\n")
    }

    @Test func placeholdersAreWholeArgumentsAndNothingIsExpanded() async throws {
        let digest = try #require(Digest(String(repeating: "a", count: 64)))
        let release = ReleaseReference(name: ReleaseName(unchecked: "v2"), manifest: digest)
        let printf = action([
            "/usr/bin/printf", "%s\\n", "{release}", "{release_dir}", "{socket}", "$HOME;`id` *",
        ])
        #expect(await run(printf, release: release).output == "v2\n/rel\n/sock\n$HOME;`id` *\n")
        let without = await run(printf)
        #expect(without.state == .notStarted)
    }

    @Test func theEnvironmentIsMadeFromNothing() async {
        setenv("SLUICE_TEST_PASSED", "yes", 1)
        setenv("SLUICE_TEST_KEPT_BACK", "no", 1)
        let outcome = await run(action(["/usr/bin/env"], environment: ["SLUICE_TEST_PASSED"]))
        #expect(
            Set(outcome.output.split(separator: "\n").map(String.init)) == [
                "PATH=\(Account.searchPath)", "LANG=C.UTF-8", "SLUICE_TASK=t/1", "SLUICE_RUN=r",
                "SLUICE_TEST_PASSED=yes",
            ])
    }

    @Test func aProgramThatIsNotThereIsNotStarted() async {
        let outcome = await run(action(["/no/such/program"]))
        #expect(outcome.state == .notStarted)
        #expect(outcome.output.contains("/no/such/program"))
    }

    @Test func outOfTimeTheWholeSessionEndsEvenWhenItIgnoresTheRequest() async throws {
        let script =
            "trap '' TERM; sleep 60 & echo $! > \(directory)/child; echo $$ > \(directory)/self; wait; sleep 60"
        let outcome = await run(action(["/bin/sh", "-c", script], timeout: .milliseconds(500)))
        #expect(outcome.state == .failed)
        #expect(outcome.output.contains("did not end within 500ms and was killed"))
        for name in ["child", "self"] {
            let text = try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8)
            let process = try #require(pid_t(text.split(separator: "\n").first ?? ""))
            try await until("\(name) is gone") { !isRunning(process) }
        }
    }

    @Test func outputWithoutEndIsBoundedOnDiskAndInTheOutcome() async throws {
        let outcome = await run(
            action(
                [
                    "/bin/sh", "-c",
                    "head -c 3000000 /dev/zero | tr '\\0' x; printf '\\377\\033[2Jend'",
                ], limit: 8192))
        #expect(outcome.state == .done)
        #expect(outcome.output.utf8.count <= TaskOutcome.outputLimit)
        #expect(
            outcome.output.hasSuffix("\u{FFFD}\u{FFFD}[2Jend"),
            "valid text without control characters")
        let kept = try Data(contentsOf: URL(filePath: runner.outputFile(identity("t/1"))))
        #expect(kept.count == 8192)
    }

    @Test func aChildThatKeepsTheOutputOpenDoesNotKeepTheActionWaitingAndLivesOn() async throws {
        let script = "echo started; setsid sleep 30 & echo $! > \(directory)/daemon"
        let began = ContinuousClock.now
        let outcome = await run(action(["/bin/sh", "-c", script]))
        #expect(outcome.state == .done && outcome.output == "started\n")
        #expect(ContinuousClock.now - began < .seconds(15))
        let text = try String(contentsOfFile: "\(directory)/daemon", encoding: .utf8)
        let daemon = try #require(pid_t(text.split(separator: "\n").first ?? ""))
        #expect(isRunning(daemon))
        kill(daemon, SIGKILL)
    }

    @Test func anIdentityFromOutsideNamesNoPath() {
        let file = runner.outputFile(identity("../../etc/cron.d/x"))
        #expect(file.hasPrefix(directory + "/"))
        #expect(!file.dropFirst(directory.count + 1).contains("/"))
    }

    @Test(
        arguments: [("exit 0", true), ("exit 1", false), ("exit 2", nil), ("kill -9 $$", nil)]
            as [(String, Bool?)])
    func aProbes0MeansItTookEffect1ThatItDidNotAnythingElseThatNobodyKnows(
        script: String, expected: Bool?
    ) async {
        let context = ActionRunner.Context(identity: identity("t"))
        let probed = action(["/bin/false"], probe: ["/bin/sh", "-c", script])
        #expect(await runner.probe(probed, context) == expected)
        #expect(await runner.probe(action(["/bin/false"]), context) == nil)
    }
}
