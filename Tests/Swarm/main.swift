// SPDX-License-Identifier: Apache-2.0

// A fleet of agents that obey at once, in one process, against a real coordinator:
//
//   Swarm HOST PORT tokens.txt      each line a node's name and its token, as `sluice token create --file` prints them
//
// Every node serves release v1. Says every five seconds what was sent and heard, until it is ended. Tests/Fixtures/fleet/swarm.py uses it.

import Foundation
import NIOCore
import NIOPosix
import Synchronization
import UpgradeModel

var limit = rlimit()
getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
limit.rlim_cur = limit.rlim_max
setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)

let arguments = CommandLine.arguments
guard arguments.count == 4, let port = Int(arguments[2]),
    let text = try? String(contentsOfFile: arguments[3], encoding: .utf8),
    let manifest = Digest(String(repeating: "0", count: 64))
else {
    print("usage: Swarm HOST PORT tokens.txt")
    exit(64)
}
let release = ReleaseReference(name: ReleaseName(unchecked: "v1"), manifest: manifest)
let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
let nodes = text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
for (number, words) in nodes.enumerated() where words.count == 2 {
    let loop = group.next()
    // One after the other: this process and the coordinator share the machine, and a connection is given up after a while.
    loop.scheduleTask(in: .milliseconds(2 * Int64(number))) {
        SwarmMember(
            loop, host: arguments[1], port: port, name: NodeName(unchecked: words[0]),
            token: words[1], serves: release
        ).start()
    }
}
/// At once, also into a file.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

while true {
    Thread.sleep(forTimeInterval: 5)
    let now = counts.withLock { $0 }
    say(
        "\(nodes.count) nodes: \(now.directives) directives, \(now.statuses) statuses, \(now.refusals) refused, \(now.broken) broken"
    )
}
