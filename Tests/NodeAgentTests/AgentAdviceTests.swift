// SPDX-License-Identifier: Apache-2.0

import Testing
import TestSupport

@testable import NodeAgent

/// What an agent advises about its files is done to the letter, and then its command goes through.
@Suite(.timeLimit(.minutes(5))) struct AgentAdviceTests {
    struct Trouble: Sendable, CustomTestStringConvertible {
        /// Run by a shell in the node's directory: what is wrong.
        var wrong: String
        var command: [String] = ["check"]
        /// Words of what the command says.
        var says: String
        /// What the person does; `nil`: the command for a shell that the words themselves have.
        var follow: String?
        var testDescription: String { says }
    }

    private static let adopt = ["adopt", "--release", "v1", "--bundle", "ROOT/bundle"]
    /// Of the agent's YAML, in place.
    private static func edit(_ from: String, _ to: String) -> String {
        "sed -i 's#\(from)#\(to)#' agent.yaml"
    }

    static let troubles = [
        Trouble(wrong: "chmod 644 token", says: "others may read the token in"),
        Trouble(
            wrong: "rm token", says: "what `sluice token create --node NAME` prints",
            follow: "umask 077; echo sluice-0123 >token"),
        Trouble(
            wrong: ": >token", says: "what `sluice token create --node NAME` prints",
            follow: "echo sluice-0123 >token"),
        Trouble(
            wrong: edit("url: .*", "url: http://10.0.0.1:9740"),
            says: "use https, or say `insecure: true` for a network that you trust",
            follow: edit("url: http:", "url: https:")),
        Trouble(
            wrong: edit("url: .*", "url: http://10.0.0.1:9740"),
            says: "use https, or say `insecure: true` for a network that you trust",
            follow: edit("  token:", "  insecure: true\\n  token:")),
        Trouble(
            wrong: edit("app: .*", "app: ROOT/there/is/none/app"), command: adopt,
            says: "the directory above it is not there; mkdir -p"),
        Trouble(
            wrong: "echo no record >state/agent.journal", command: adopt,
            says: "move the file away, and start the agent again",
            follow: "mv state/agent.journal kept"),
        Trouble(
            wrong: edit("{release}.sock", "\(String(repeating: "d", count: 90))/{release}.sock"),
            command: adopt, says: "shorten the release's name or the template",
            follow: edit("d*/{release}.sock", "{release}.sock")),
        Trouble(
            wrong: "ln -s /etc/passwd bundle/out", command: adopt,
            says: "make it relative and let it lead into the bundle",
            follow: "rm bundle/out; ln -s a bundle/out"),
        Trouble(
            wrong: "ln -s /var/uploads bundle/out", command: adopt,
            says: "named under `application.shared` of its agent.yaml",
            follow: "mkdir -p app/shared/out; "
                + edit("application:", "application:\\n  shared: [out]")),
    ]

    @Test(arguments: troubles) func whatIsAdvisedLeadsOut(_ trouble: Trouble) async throws {
        let node = try TestNode(try FakeCoordinator())
        try shell("mkdir bundle && echo 1 >bundle/a", in: node)
        let command = trouble.command.map { $0.replacing("ROOT", with: node.root) }
        try shell(trouble.wrong, in: node)
        let refused = try await AgentProcess.run(node, command)
        #expect(refused.status == 1 || refused.status == 3, "\(refused.output)")
        #expect(refused.output.contains(trouble.says), "\(refused.output)")
        let said = refused.output.firstMatch(of: /(chmod|mkdir) [^\n;\[]*/).map { String($0.0) }
        try shell(try #require(trouble.follow ?? said), in: node)
        let led = try await AgentProcess.run(node, command)
        #expect(led.status == 0, "\(led.output)")
    }

    private func shell(_ script: String, in node: TestNode) throws {
        let shell = try ChildProcess(
            ["/bin/sh", "-ec", script.replacing("ROOT", with: node.root)],
            output: node.root + "/shell", directory: node.root)
        #expect(shell.wait() == 0, "\(script)")
    }
}
