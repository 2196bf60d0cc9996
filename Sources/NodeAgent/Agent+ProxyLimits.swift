// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Glibc
import HostWork
import UpgradeModel
import WriteGate

extension Agent {
    /// What the configuration of this node's nginx says of how much it holds; `nil` when it cannot be read, or is another's.
    ///
    /// Off the agent's queue: a site may have hundreds of files.
    @concurrent nonisolated func proxyLimits() async -> ProxyLimits? {
        guard let found = ProxyConfiguration(file: configuration.nginx),
            found.mentions(configuration.gate.admissionSocket)
        else { return nil }
        let processors = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        return ProxyLimits(
            workers: min(found.workers ?? processors, 10_000),
            connections: min(found.connections, 10_000_000),
            shares: found.shares.map {
                .init(
                    key: String($0.key.prefix(100)), atMost: min($0.atMost, 1_000_000),
                    place: String($0.place.suffix(300)))
            })
    }
}
