// SPDX-License-Identifier: Apache-2.0

import NginxTestSupport
import TestSupport
import UpgradeModel
import WriteGate

/// A node of the tests: a real proxy with the shipped files, an application behind it, and a runtime directory for a gate.
protocol GatedNode: AnyObject, Sendable {
    var directory: TemporaryDirectory { get }
    var application: RecordingApplication { get }
    var client: HTTPClient { get }
}

extension GatedNode {
    var runtime: String { directory.path + "/run" }

    func gate(
        _ setting: GateSetting? = nil, longestHold: Span = .seconds(110),
        inFlightAtMost: Span = .minutes(10),
        onChange: @escaping @Sendable (GateSnapshot) -> Void = { _ in }
    ) throws -> WriteGate {
        let gate = try WriteGate(
            GateConfiguration(
                runtimeDirectory: runtime, longestHold: longestHold, inFlightAtMost: inFlightAtMost),
            onChange: onChange)
        if let setting { try gate.set(setting) }
        return gate
    }

    /// A gate in a process of its own, to be killed.
    func process() throws -> GateProcess {
        try GateProcess(runtime: runtime, log: directory.path + "/gate.log")
    }

    /// Sends a probe as an agent does.
    func probe(_ gate: WriteGate, path: String = "/_sluice/probe") async throws
        -> GateProbe.Answer
    {
        let probe = gate.makeProbe()
        let headers = Dictionary(uniqueKeysWithValues: probe.headers.map { ($0.name, $0.value) })
        let response = try await client.send(GateProbe.method, path, headers: headers)
        return probe.verdict(
            wasAsked: gate.wasAsked(about: probe), passage: gate.passage(of: probe),
            status: response.status, headers: response.headers)
    }
}

/// A node whose application lies as the agent lays it out.
protocol FlippableNode: GatedNode {
    /// Makes a second release on disk, with an application on its own socket, and does not activate it.
    func release(_ activation: String, name: String) throws -> RecordingApplication
    func flip(to activation: String) throws
    /// The proxy reads its configuration anew, as an operator has it do.
    func reload() throws
}

/// The proxies that have the gate.
enum Front: String, CaseIterable, CustomStringConvertible, Sendable {
    case nginx, haproxy, caddy

    var description: String { rawValue }

    /// Whether it says when a request has ended.
    var reportsEnds: Bool { self != .caddy }

    /// - Parameter edit: changes a shipped file, for tests of hazards.
    func node(
        edit: @escaping @Sendable (String) -> String = { $0 },
        reply: (@Sendable (RecordingApplication.Request) -> RecordingApplication.Reply)? = nil
    ) async throws -> any FlippableNode {
        switch self {
        case .nginx: try await GateNode(workers: 2, edit: edit, reply: reply)
        case .haproxy: try await ProxyNode(.haproxy, edit: edit, reply: reply)
        case .caddy: try await ProxyNode(.caddy, edit: edit, reply: reply)
        }
    }
}
