// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel
import WriteGate

/// What clients of gRPC meet at the gate: a real client and service, and nginx's `grpc_pass` between them.
@Suite(.timeLimit(.minutes(5)))
struct GrpcTests {
    /// One call, as the client tells its end.
    private struct Ended: Decodable {
        var name: String
        var code: String?
        var details: String?
        var answer: String?
        var trailers: [String: String]?
    }

    /// A site whose application is a gRPC service.
    private struct Shop {
        let node: SiteNode
        let service: ChildProcess

        init() async throws {
            node = try await SiteNode(
                after: "location / { grpc_pass grpc://unix:FILES/grpc.sock; }", listen: " http2",
                routes:
                    #"map "$request_method $uri" $sluice_kind { default $sluice_kind_by_method; "~^POST /shop.Shop/Get\z" read; }"#
            )
            let socket = node.directory.path + "/files/grpc.sock"
            service = try ChildProcess(
                ["/usr/bin/python3", "-B", Self.fixture("server.py"), socket],
                output: node.directory.path + "/service.log")
            let isUp = await eventually { FileManager.default.fileExists(atPath: socket) }
            try #require(isUp)
        }

        private static func fixture(_ name: String) -> String {
            let tests = URL(filePath: #filePath).deletingLastPathComponent()
                .deletingLastPathComponent()
            return tests.appending(path: "Fixtures/grpc/\(name)").path()
        }

        /// - Returns: the client, and where it writes.
        func start(_ scenario: String) throws -> (process: ChildProcess, output: String) {
            let output = node.directory.path + "/client-\(UInt32.random(in: 0 ... .max)).log"
            let process = try ChildProcess(
                [
                    "/usr/bin/python3", "-B", Self.fixture("client.py"),
                    "\(node.nginx.address):8080", scenario,
                ], output: output)
            return (process, output)
        }

        /// The calls that have ended so far.
        func ended(_ output: String) -> [Ended] {
            let text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
            return text.split(separator: "\n").compactMap {
                try? JSONDecoder().decode(Ended.self, from: Data($0.utf8))
            }
        }

        func call(_ scenario: String) async throws -> Ended {
            let client = try start(scenario)
            #expect(await eventually { !ended(client.output).isEmpty })
            client.process.end(SIGKILL)
            return try #require(ended(client.output).first)
        }
    }

    @Test(arguments: ["put", "upload"])
    func aRefusedCallIsUnavailableWithThePlansWordsAndWhenToComeBack(scenario: String) async throws
    {
        let shop = try await Shop()
        let gate = try shop.node.gate()
        #expect(try await shop.call(scenario).code == "OK")
        try gate.set(.refuse)
        let refused = try await shop.call(scenario)
        #expect(refused.code == "UNAVAILABLE" && refused.details == "Back at noon.")
        #expect(refused.trailers?["grpc-retry-pushback-ms"] == "7000")
        gate.stop()
        let alone = try await shop.call(scenario)
        #expect(alone.code == "UNAVAILABLE")
        #expect(alone.details == "Read-only for the moment. Please try again shortly.")
        #expect(alone.trailers?["grpc-retry-pushback-ms"] == "5000")
    }

    /// The client would wait for a minute by itself, and the gate says 1 s.
    @Test func aClientThatTriesAgainByItselfComesBackWhenItIsTold() async throws {
        let shop = try await Shop()
        let gate = try shop.node.gate(
            GateSetting(writes: .refuse(retryAfter: .seconds(1), message: "soon")))
        let client = try shop.start("retry")
        #expect(await eventually { gate.observe().totals.writesRefused.closed == 1 })
        try gate.set(.open)
        #expect(await eventually(within: .seconds(30)) { !shop.ended(client.output).isEmpty })
        #expect(shop.ended(client.output).map(\.answer) == ["put 1"])
        #expect(gate.observe().totals.admitted == 1)
    }

    @Test func aHeldCallGoesThroughAndOneHeldTooLongIsToldWhenToComeBack() async throws {
        let shop = try await Shop()
        let gate = try shop.node.gate(.hold())
        let client = try shop.start("put")
        #expect(await eventually { gate.observe().writesHeld == 1 })
        try gate.set(.open)
        #expect(await eventually { shop.ended(client.output).first?.answer == "put 1" })
        #expect(await eventually { gate.observe().writesInFlight == 0 })
        try gate.set(.hold(for: .milliseconds(200)))
        let expired = try await shop.call("put")
        #expect(expired.code == "UNAVAILABLE")
        #expect(expired.trailers?["grpc-retry-pushback-ms"] == "7000")
    }

    @Test func aStreamIsNoWriteInFlightForItsWholeLife() async throws {
        let shop = try await Shop()
        let gate = try shop.node.gate()
        let client = try shop.start("watch")
        #expect(await eventually { shop.ended(client.output).first?.answer == "still here" })
        // A call that lasts for more than some seconds is one.
        #expect(await eventually { gate.observe().streamsOpen == 1 })
        #expect(gate.observe().writesInFlight == 0)
        try gate.set(.hold())
        #expect(gate.observe().isDrained)
        client.process.end(SIGKILL)
        #expect(await eventually { gate.observe().streamsOpen == 0 })
    }

    @Test func aConnectionFullOfHeldCallsStillTakesReads() async throws {
        let shop = try await Shop()
        let gate = try shop.node.gate(.hold(200))
        let client = try shop.start("many")
        #expect(await eventually { gate.observe().writesHeld == 100 })
        #expect(await eventually { shop.ended(client.output).map(\.answer) == ["got page"] })
        try gate.set(.open)
        #expect(await eventually { shop.ended(client.output).count == 101 })
        #expect(shop.ended(client.output).allSatisfy { $0.code == "OK" })
    }
}
