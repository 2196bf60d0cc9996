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
                    likely: .init(
                        withProxyLine: $0.expectsProxyLine, inHTTP2: $0.speaksHTTP2))
            }
        guard !targets.isEmpty else { return GateProof(.untried, nowhere) }
        let isDerived = self.targets == nil
        let proofs = await withTaskGroup(of: GateProof.self) { group in
            for target in targets {
                group.addTask { await prove(target, isClosed: isClosed, isDerived: isDerived) }
            }
            return await group.reduce(into: [GateProof]()) { $0.append($1) }
        }
        return GateProver.sum(proofs)
    }

    /// What is worst says it for all. Where nothing is wrong, one that was tried is enough, and those that were not are named.
    static func sum(_ proofs: [GateProof]) -> GateProof {
        let untried = proofs.filter { $0.state == .untried }.map(\.detail).sorted()
        for state in [GateProof.State.failed, .waiting] {
            let found = proofs.filter { $0.state == state }
            if let first = found.min(by: { $0.detail < $1.detail }) { return first }
        }
        let detail = untried.joined(separator: "; ")
        return GateProof(
            proofs.contains { $0.state == .proved } ? .proved : .untried, detail)
    }

    private var nowhere: String {
        guard targets == nil else { return "gate.probe in agent.yaml names no URL" }
        let seen =
            gate.observe().totals.admitted == 0
            ? "no write has come through the proxy yet"
            : "the proxy's log does not say where writes come in"
        return
            "\(seen), so that nothing is known of a server to try; name a URL under gate.probe in agent.yaml"
    }

    private func prove(_ target: ProbeTarget, isClosed: Bool, isDerived: Bool) async -> GateProof {
        var failure: HTTPFailure?
        for approach in target.approaches {
            do throws(HTTPFailure) {
                let verdict = try await verdict(of: target, approach)
                return judge(verdict, target, isClosed: isClosed, isDerived: isDerived)
            } catch {
                failure = failure ?? error
                // Somebody listens, and has not understood.
                guard [.interrupted, .tls, .other].contains(error.code) else { break }
            }
        }
        let advice =
            isDerived
            ? "nothing is known of writes that come in there"
            : "is the proxy running, and is the URL of gate.probe one of its own?"
        // Where nothing listens any more, nothing comes in.
        return GateProof(
            isDerived ? .untried : .waiting,
            "\(failure?.message ?? "") at \(target.destination); \(advice)")
    }

    private func judge(
        _ verdict: GateProbe.Answer, _ target: ProbeTarget, isClosed: Bool, isDerived: Bool
    ) -> GateProof {
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

    private func verdict(of target: ProbeTarget, _ approach: ProbeTarget.Approach)
        async throws(HTTPFailure) -> GateProbe.Answer
    {
        let probe = gate.makeProbe()
        let answer = try await send(probe, to: target, approach)
        let headers = Dictionary(
            answer.head.headers.map { ($0.name.lowercased(), $0.value) },
            uniquingKeysWith: { first, _ in first })
        return probe.verdict(
            wasAsked: gate.wasAsked(about: probe), passage: await passage(of: probe),
            status: answer.status, headers: headers)
    }

    private func send(
        _ probe: GateProbe, to target: ProbeTarget, _ approach: ProbeTarget.Approach
    ) async throws(HTTPFailure) -> HTTPResponse {
        var request = HTTPRequest(
            .post, target.url,
            // libcurl writes the length of no body by itself.
            headers: probe.headers.filter { $0.name != "Content-Length" }.map {
                HTTPHeader($0.name, $0.value)
            },
            timeouts: HTTPTimeouts(connect: .seconds(1), total: GateProver.patience))
        if target.destination.hasPrefix("unix:") {
            request.unixSocket = String(target.destination.dropFirst("unix:".count))
        } else {
            request.connectTo = target.destination
        }
        request.beginsWithProxyLine = approach.withProxyLine
        request.speaksHTTP2 = approach.inHTTP2
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
