// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Files
import Glibc
import HostWork
import NodeEngine
import Releases
import UpgradeModel
import WriteGate

/// What of this node could stand in the way of held requests, for preflight to compare with what a plan holds.
extension Agent {
    func addLimits(to proof: inout GateProof) async {
        let release = engine.host.current?.release
        let found = await limits(at: release.map { store.socketPath(of: $0) })
        proof.limits = found.proxy
        proof.bounds = found.bounds
        proof.room = found.room
    }

    /// Off the agent's queue: a site may have hundreds of files.
    @concurrent private nonisolated func limits(
        at socket: String?
    ) async -> (proxy: ProxyLimits?, bounds: [ProxyBound]?, room: HoldingRoom) {
        let proxy = ProxyConfiguration(file: configuration.nginx).flatMap {
            // Another nginx of the machine says nothing of this one.
            $0.mentions(configuration.gate.admissionSocket) ? $0 : nil
        }
        // Questions of those who are not held need some.
        let requests = max(0, gate.connectionsAtMost - 64)
        let room = HoldingRoom(
            requests: min(requests, Bounds.requests),
            openFiles: min(gate.openFiles, Bounds.requests),
            queues: queues(at: socket, proxy?.backends ?? []),
            longestQueue: min(ListenQueues.longest ?? Bounds.requests, Bounds.requests),
            longestHold: configuration.gate.longestHold)
        return (proxy.map(limits), bounds(proxy), room)
    }

    /// What a proxy does to held requests besides its limits, and to a flip; `nil` where none asks this gate.
    private nonisolated func bounds(_ nginx: ProxyConfiguration?) -> [ProxyBound]? {
        let flipping = configuration.directories.app + "/current/"
        let socket = configuration.gate.admissionSocket
        // As its backend has it, below a variable for the directory.
        let listening = String(
            configuration.gate.streamSocket.dropFirst(configuration.gate.runtimeDirectory.count))
        let haproxy = HAProxyConfiguration(path: configuration.haproxy).flatMap {
            // It names the directory; the sockets are its Lua's.
            $0.mentions(configuration.gate.runtimeDirectory) ? $0 : nil
        }
        let caddy = CaddyConfiguration(file: configuration.caddy).flatMap {
            $0.mentions(socket) ? $0 : nil
        }
        guard nginx != nil || haproxy != nil || caddy != nil else { return nil }
        let ofNginx =
            (nginx?.keeping ?? []).filter { upstream in
                upstream.servers.contains { $0.contains(flipping) }
            }.map { HeldBound("the upstream \($0.name)", at: $0.position, .kept) }
            + (nginx?.asking ?? [])
        let isListening = haproxy?.mentions(listening) ?? false
        let ofHAProxy = haproxy?.bounds(fromDefaults: "sluice") ?? []
        let ofCaddy = caddy?.bounds(asking: socket, flipping: flipping) ?? []
        return ofNginx.prefix(16).map { bound($0, .nginx, isListening: false) }
            + ofHAProxy.prefix(16).map { bound($0, .haproxy, isListening: isListening) }
            + ofCaddy.prefix(16).map { bound($0, .caddy, isListening: false) }
    }

    private nonisolated func bound(
        _ found: HeldBound, _ proxy: ProxyBound.Kept, isListening: Bool
    ) -> ProxyBound {
        var bound = ProxyBound(
            name: String(found.name.prefix(100)), position: String(found.position.suffix(300)))
        switch found.kind {
        case .requests(let most):
            bound.requests = max(0, min(most, Bounds.requests))
            bound.listeners = isListening ? min(gate.streamsAtMost, Bounds.requests) : nil
        case .kept: bound.kept = proxy
        case .passing(let most): bound.passing = max(0, min(most, Bounds.requests))
        case .milliseconds(let most): bound.span = min(Span(milliseconds: most), .minutes(24 * 60))
        }
        return bound
    }

    private nonisolated func limits(_ found: ProxyConfiguration) -> ProxyLimits {
        // Those who listen come through the proxy where it names the socket for them.
        let isListening = found.mentions(configuration.gate.streamSocket)
        let processors = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        return ProxyLimits(
            workers: min(found.workers ?? processors, 10_000),
            connections: min(found.connections, 10_000_000),
            shares: found.shares.map {
                .init(
                    key: String($0.key.prefix(100)), atMost: min($0.atMost, 1_000_000),
                    position: String($0.position.suffix(300)))
            },
            requestsOfConnection: found.requestsOfConnection.map { min($0, Bounds.requests) },
            listeners: isListening ? min(gate.streamsAtMost, Bounds.requests) : nil)
    }

    /// Where the active release listens; where it is not at its socket, wherever the proxy passes requests on to on this machine.
    private nonisolated func queues(at socket: String?, _ backends: [String]) -> [HoldingRoom.Queue]
    {
        guard let all = ListenQueues.now() else { return [] }
        let most = Bounds.requests
        if let socket, let length = all.length(at: socket) {
            return [.init(place: socket, length: min(length, most))]
        }
        return backends.compactMap { backend in
            if backend.hasPrefix("unix:") {
                let path = String(backend.dropFirst(5))
                // The proxy asks the gate as it asks an application.
                guard path != configuration.gate.admissionSocket else { return nil }
                return all.length(at: path).map { .init(place: path, length: min($0, most)) }
            }
            let isHere = ["127.", "localhost:", "[::1]:", "[::]:", "0.0.0.0:"].contains(
                where: backend.hasPrefix)
            guard isHere, let port = backend.split(separator: ":").last.flatMap({ UInt16($0) })
            else { return nil }
            return all.length(ofPort: port).map { .init(place: backend, length: min($0, most)) }
        }
    }
}
