// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import ControlAPI

struct NodesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nodes",
        abstract: "Show every node that the coordinator knows, and what it serves.",
        discussion: """
            EXAMPLES
              sluice nodes
              sluice nodes --json | jq -r 'select(.lastSeen == null).name'   # nodes that were not heard
            """)

    @Flag(help: "Print NDJSON, one object a node.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await perform(.standard())
    }

    func perform(_ console: Console) async throws {
        try await conclude(json: json, console: console) { () throws(CommandFailure) in
            let client = CoordinatorClient(try connection.resolved())
            let nodes = try await console.during("asking the coordinator") {
                () throws(CommandFailure) in try await client.nodes()
            }
            if json {
                for node in nodes { console.line(jsonLine(node)) }
            } else {
                console.lines(NodeListing.lines(nodes, width: console.width))
            }
            return .done
        }
    }
}
