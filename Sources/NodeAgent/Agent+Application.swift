// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Files
import HostWork
import NodeEngine
import Releases
import UpgradeModel
import WriteGate

extension Agent {
    /// Looks whether the application answers, as the proxy would; cheaply, and so rarely that it costs nothing.
    func watchApplication() async {
        let hasSocket = configuration.applicationSocket != nil
        var looks = 0
        var drift: String?
        while !Task.isCancelled, hasSocket || configuration.release.areForVersions {
            if hasSocket {
                connectionAges.note(engine.host.staged.map { store.socketPath(of: $0) })
            }
            // A look is a connection, and while reads settle the connections are counted.
            if let release = engine.host.current?.release, gate.observe().setting.readHold == nil {
                // A version that somebody has switched by hand; a report may be a costly program.
                if looks.isMultiple(of: 10) || drift != nil {
                    drift = await performer.troubleReporting(release)
                }
                let unreachable = hasSocket ? trouble(reaching: release) : nil
                handle(.application(release, trouble: unreachable ?? drift))
            }
            looks += 1
            try? await Task.sleep(for: .seconds(3), tolerance: .seconds(1))
        }
    }

    private func trouble(reaching release: ReleaseReference) -> String? {
        let socket = store.socketPath(of: release)
        guard let reason = reasonNotToConnect(to: socket) else { return nil }
        return
            "the application of \(release.name) does not accept connections at \(socket) (\(reason)): start it, "
            + "or readers get 502 from this node"
    }
}
