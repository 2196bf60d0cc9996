// SPDX-License-Identifier: Apache-2.0

import RunStore
import UpgradeEngine
import UpgradeModel

/// Many nodes and a database that answer at once, and what a whole run of them costs the engine.
struct Swarm {
    private var core: CoordinatorCore
    private var published: Published
    private var nodes: [NodeName: FakeNode] = [:]
    private let names: [NodeName]
    private let clock = ContinuousClock()

    struct Cost {
        var turns = 0
        var directives = 0
        var events = 0
        /// In the core alone, and in what is published.
        var core = Duration.zero
        var published = Duration.zero
        /// From the first word to close a gate to the last gate that opened, in the core alone.
        var window = Duration.zero
    }
    private(set) var cost = Cost()
    var state: RunState { core.run(ScenarioWorld.run)!.state }

    init(_ count: Int) {
        names = (1...count).map { NodeName(unchecked: "web-\($0)") }
        core = CoordinatorCore(
            epoch: Epoch(rawValue: 1),
            inventory: names.map { NodeRecord(name: $0, labels: ["role": "web"]) }, runs: [])
        published = Published(core)
        for name in names { nodes[name] = FakeNode(name, serves: ScenarioWorld.old) }
    }

    /// A whole run, in which each turn takes in what all nodes said to the last one.
    mutating func run(_ plan: String) {
        var inputs: [CoreInput] = [
            .start(
                RunCreated(
                    run: ScenarioWorld.run, fleet: FleetName(unchecked: "guestbook"), plan: plan,
                    planFile: "plan.yaml", digest: ScenarioWorld.new.manifest,
                    release: ScenarioWorld.new, migrations: [], nodes: names.sorted(),
                    by: OperatorName(unchecked: "alice"), request: "q0"))
        ]
        for name in names { inputs.append(.status(name, nodes[name]!.status())) }
        while !inputs.isEmpty {
            cost.turns += 1
            let turn = take(inputs)
            inputs = []
            for effect in turn.effects { inputs += interpret(effect) }
        }
    }

    private mutating func take(_ inputs: [CoreInput]) -> Turn {
        var turn = Turn()
        let began = clock.now
        let now = Instant(milliseconds: 1_000_000 + Int64(cost.turns))
        for input in inputs {
            if let ready = try? core.step(input, at: now) { turn.add(ready, after: input) }
        }
        let spent = clock.now - began
        cost.core += spent
        let run = core.run(ScenarioWorld.run)
        if run?.windowOpened != nil, run?.windowClosed == nil { cost.window += spent }
        return turn
    }

    private mutating func interpret(_ effect: Turn.Effect) -> [CoreInput] {
        switch effect {
        case .store(let appends):
            cost.events += appends.reduce(0) { $0 + $1.events.count }
            return []
        case .publish(let readies):
            let began = clock.now
            for ready in readies { published.apply(ready) }
            cost.published += clock.now - began
            return []
        case .speak(let directives, _):
            cost.directives += directives.count
            return directives.keys.sorted().map { name in
                nodes[name]!.take(directives[name]!)
                return .status(name, nodes[name]!.status())
            }
        case .serveDatabases:
            let commands = published.run(ScenarioWorld.run)?.databaseCommands ?? []
            return commands.compactMap { command in
                guard case .perform(let task) = command else { return nil }
                let report =
                    task.kind == .census ? DatabaseReport(census: FakeDatabase.proof) : .init()
                return .databaseEnded(ScenarioWorld.run, task, .done(report))
            }
        }
    }
}
