// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import CurlClient
import NodeEngine
import UpgradeModel
import WriteGate

/// Sends marked writes through the proxy of this node, to see whether it asks the gate.
struct GateProver: Sendable {
    var gate: WriteGate
    /// Named in the configuration; `nil`: the servers that the proxy has reported writes of.
    var targets: [ProbeTarget]?

    /// A path that no application has, in the location that takes what no other does.
    static let path = "/_sluice/probe"
    private static let patience = Duration.seconds(3)

    func prove(isClosed: Bool) async -> GateProof {
        let targets =
            targets
            ?? gate.servers.map {
                ProbeTarget(
                    url: $0.url(GateProver.path), destination: $0.destination,
                    expectsProxyLine: $0.expectsProxyLine)
            }
        guard !targets.isEmpty else { return GateProof(.untried, GateProver.nowhere(self.targets)) }
        let isDerived = self.targets == nil
        let proofs = await withTaskGroup(of: GateProof.self) { group in
            for target in targets {
                group.addTask { await prove(target, isClosed: isClosed, isDerived: isDerived) }
            }
            return await group.reduce(into: [GateProof]()) { $0.append($1) }
        }
        // What is worst says it for all; where nothing is wrong, one that was tried is enough.
        for state in [GateProof.State.failed, .waiting, .proved, .untried] {
            let found = proofs.filter { $0.state == state }
            if let first = found.min(by: { $0.detail < $1.detail }) { return first }
        }
        return GateProof(.untried)
    }

    private static func nowhere(_ targets: [ProbeTarget]?) -> String {
        targets == nil
            ? "no write has come through the proxy yet, so that nothing is known of where they come in; name a URL under gate.probe "
                + "in agent.yaml"
            : "gate.probe in agent.yaml names no URL"
    }

    private func prove(_ target: ProbeTarget, isClosed: Bool, isDerived: Bool) async -> GateProof {
        let probe = gate.makeProbe()
        let verdict: GateProbe.Answer
        do throws(HTTPFailure) {
            let answer = try await send(probe, to: target)
            let headers = Dictionary(
                answer.head.headers.map { ($0.name.lowercased(), $0.value) },
                uniquingKeysWith: { first, _ in first })
            verdict = probe.verdict(
                wasAsked: gate.wasAsked(about: probe), passage: await passage(of: probe),
                status: answer.status, headers: headers)
        } catch {
            // Where nothing listens any more, nothing comes in.
            let state: GateProof.State = isDerived ? .untried : .waiting
            return GateProof(
                state,
                "\(error.message); is the proxy running, and is the URL of gate.probe one of its own?"
            )
        }
        switch verdict {
        case .closed: return isClosed ? GateProof(.proved) : GateProof(.waiting)
        case .open: return isClosed ? GateProof(.waiting) : GateProof(.proved)
        case .stopped where isDerived: return GateProof(.untried, said(verdict, target))
        case .stopped, .disguised, .notAsked: return GateProof(.failed, said(verdict, target))
        }
    }

    private func said(_ verdict: GateProbe.Answer, _ target: ProbeTarget) -> String {
        "POST \(target.url) at \(target.destination): \(verdict.problem) (docs/gate.md, \"Is the gate asked?\")"
    }

    private func send(_ probe: GateProbe, to target: ProbeTarget) async throws(HTTPFailure)
        -> HTTPResponse
    {
        var request = HTTPRequest(
            .post, target.url,
            // libcurl writes the length of no body by itself.
            headers: probe.headers.filter { $0.name != "Content-Length" }.map {
                HTTPHeader($0.name, $0.value)
            },
            timeouts: HTTPTimeouts(connect: .seconds(1), total: GateProver.patience))
        request.connectTo = target.destination
        request.beginsWithProxyLine = target.expectsProxyLine
        // It stays on this machine, and what is in it is worth nothing to anybody else.
        request.tls.isUnverified = true
        // On a connection of its own, as a client's first one is: one that is kept may belong to an older configuration of the proxy.
        let client = CurlClient()
        defer { client.close() }
        return try await client.perform(request)
    }

    /// What the proxy reports of a probe that the gate was not asked about, a moment after its answer.
    private func passage(of probe: GateProbe) async -> ProxyPassage? {
        guard !gate.wasAsked(about: probe) else { return .asked }
        for _ in 0..<50 {
            if let passage = gate.passage(of: probe) { return passage }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return nil
    }
}
