// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import WriteGate

extension GateSetting {
    /// What the engine asks of the gate, in the gate's own words.
    init(_ target: GateTarget) {
        self.init(
            writes: target.writes, readHold: target.reads, sessionReadHold: target.sessions)
    }
}
