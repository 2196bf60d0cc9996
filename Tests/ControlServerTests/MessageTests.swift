// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import CurlClient
import Synchronization
import Testing
import UpgradeModel

@testable import ControlServer

@Suite struct MessageTests {
    @Test
    func aPollCarriesWhatTheNodeHasAndIsAnsweredWithADirectiveOrWithNothing() async throws {
        try await RunningServer.run { server in
            let query = DirectiveQuery(epoch: Epoch(rawValue: 3), revision: 17, wait: .seconds(5))
            let path = "\(Path.directive)?\(query.text)"
            let nothing = try await server.send(.get, path, as: .node)
            #expect(nothing.status == 204)
            #expect(nothing.body.isEmpty)
            let directive = Directive(epoch: Epoch(rawValue: 7), revision: 18)
            server.control.state.withLock { $0.directive = directive }
            let answer = try await server.send(.get, path, as: .node)
            #expect(answer.status == 200)
            #expect(try answer.decode(Directive.self) == directive)
            #expect(
                server.control.asked == Array(repeating: "directive web1 \(query.text)", count: 2))
        }
    }

    @Test(arguments: ["epoch=x", "revision=-1", "wait=1e9", "epoch="])
    func aPollWhoseQueryIsNoNumberIsRefused(_ query: String) async throws {
        try await RunningServer.run { server in
            let answer = try await server.send(.get, "\(Path.directive)?\(query)", as: .node)
            #expect(answer.status == 400)
            #expect(server.control.asked.isEmpty)
        }
    }

    @Test
    func aStatusIsItsSenderSWhateverItSays() async throws {
        try await RunningServer.run { server in
            let answer = try await server.send(
                .post, Path.status, as: .node, body: try json(someStatus()))
            #expect(answer.status == 200)
            #expect(
                try answer.decode(StatusReceipt.self)
                    == StatusReceipt(epoch: Epoch(rawValue: 7), revision: 3))
            #expect(server.control.asked == ["status web1 5"])
        }
    }

    @Test
    func aBodyThatIsTooLargeIsRefusedBeforeItIsReadAndWhileItIsRead() async throws {
        try await RunningServer.run { server in
            var status = someStatus()
            status.boot = String(repeating: "x", count: Limits.status)
            let answer = try await server.send(
                .post, Path.status, as: .node, body: try json(status))
            #expect(answer.status == 413)
            #expect(try answer.error.code == "too-large")
            #expect(try answer.error.message.contains("NodeStatus, \(Limits.status) bytes"))
            #expect(server.control.asked.isEmpty)
        }
    }

    @Test
    func aBodyThatIsNotWhatItShouldBeIsRefusedWithItsPlaceAndWithoutItsText() async throws {
        try await RunningServer.run { server in
            let body = HTTPBody.bytes(Array(#"{"request":"r","verb":"hunter2-secret"}"#.utf8))
            let answer = try await server.send(
                .post, Path.requests(someRun), as: .person, body: body)
            #expect(answer.status == 400)
            let error = try answer.error
            #expect(error.message.contains("verb"))
            #expect(!answer.text.contains("hunter2") || error.message.contains("RequestVerb"))
            let none = try await server.send(
                .post, Path.requests(someRun), as: .person, body: .bytes([]))
            #expect(none.status == 400)
        }
    }

    @Test
    func aRunIsStartedAndAskedByTheOperatorWhoseTokenItIs() async throws {
        try await RunningServer.run { server in
            let start = StartRun(
                request: "r1", plan: "fleet: web", planFile: "plan.yaml",
                manifest: Digest(bytes: Array(repeating: 1, count: 32)), migrations: [])
            let started = try await server.send(
                .post, Path.runs, as: .person, body: try json(start))
            #expect(started.status == 201)
            #expect(try started.decode(RunView.self).summary.run == someRun)
            let ask = RunRequest(request: "r2", verb: .pause)
            let asked = try await server.send(
                .post, Path.requests(someRun), as: .person, body: try json(ask))
            #expect(asked.status == 202)
            #expect(server.control.asked == ["start r1 by ada", "pause \(someRun) by ada"])
        }
    }

    @Test
    func aRefusedPlanComesBackWithItsDiagnostics() async throws {
        try await RunningServer.run { server in
            let start = StartRun(
                request: "r1", plan: "", planFile: "wrong.yaml",
                manifest: Digest(bytes: Array(repeating: 1, count: 32)), migrations: [])
            let answer = try await server.send(.post, Path.runs, as: .person, body: try json(start))
            #expect(answer.status == 422)
            #expect(try answer.error.diagnostics.count == 1)
        }
    }

    @Test
    func aRunThatIsNotThereIsNotFound() async throws {
        try await RunningServer.run { server in
            let path = Path.run(RunIdentifier(unchecked: "other"))
            let answer = try await server.send(.get, path, as: .person)
            #expect(answer.status == 404)
            #expect(try answer.error.advice?.contains("sluice status") == true)
        }
    }
}
