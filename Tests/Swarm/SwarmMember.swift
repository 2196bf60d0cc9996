// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import Synchronization
import UpgradeModel

/// What all of them have done.
struct SwarmCounts {
    var directives = 0
    var statuses = 0
    var refusals = 0
    var broken = 0
}

let counts = Mutex(SwarmCounts())

/// One agent on one event loop: a long-poll, and a line for what it says, as the real one has them.
final class SwarmMember {
    private let loop: any EventLoop
    private let polls: SwarmLine
    private let reports: SwarmLine
    private var agent: SwarmAgent
    private var isReporting = false
    private var hasNews = false

    init(
        _ loop: any EventLoop, host: String, port: Int, name: NodeName, token: String,
        serves release: ReleaseReference
    ) {
        self.loop = loop
        polls = SwarmLine(loop, host: host, port: port, token: token)
        reports = SwarmLine(loop, host: host, port: port, token: token)
        agent = SwarmAgent(name, serves: release)
    }

    func start() {
        report()
        poll()
        let member = NIOLoopBound(self, eventLoop: loop)
        // A status every ten seconds at the latest, as the real agent sends it.
        loop.scheduleRepeatedTask(
            initialDelay: .milliseconds(.random(in: 1...10_000)), delay: .seconds(10)
        ) { _ in member.value.report() }
    }

    private func poll() {
        let query = DirectiveQuery(
            epoch: agent.directive.epoch, revision: agent.directive.revision, wait: .seconds(50))
        polls.send(.GET, "\(Path.directive)?\(query.text)", nil) { [self] status, body in
            switch status {
            case 200:
                counts.withLock { $0.directives += 1 }
                if let new = try? JSONDecoder().decode(Directive.self, from: Data(buffer: body)),
                    agent.take(new)
                {
                    report()
                }
                poll()
            case 204: poll()
            default: later(status) { $0.poll() }
            }
        }
    }

    private func report() {
        guard !isReporting else {
            hasNews = true
            return
        }
        isReporting = true
        hasNews = false
        guard let data = try? JSONEncoder().encode(agent.status()) else { return }
        reports.send(.POST, Path.status, ByteBuffer(bytes: data)) { [self] status, _ in
            isReporting = false
            counts.withLock { $0.statuses += 1 }
            if status != 200 {
                later(status) { $0.report() }
            } else if hasNews {
                report()
            }
        }
    }

    private func later(_ status: UInt, _ work: @escaping (SwarmMember) -> Void) {
        counts.withLock { counts in
            if status == 0 { counts.broken += 1 } else { counts.refusals += 1 }
        }
        loop.assumeIsolated().scheduleTask(in: .seconds(1)) { work(self) }
    }
}
