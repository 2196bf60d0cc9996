// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import MigrationReader
internal import Releases
internal import UpgradeEngine
internal import UpgradeModel
internal import UpgradePlan

/// What a plan will do, in order, on each node and in the database: what `plan` shows and `apply` asks about.
///
/// Its steps are the engine's own itinerary, so what is shown is what is done.
struct Forecast: Codable, Hashable, Sendable {
    var type = "plan"
    var plan: String
    var fleet: FleetName
    var release: ReleaseReference
    var files: Int
    var bytes: Int64
    /// Canary first; empty when nobody knows which nodes the plan selects.
    var batches: [[NodeName]]
    var nodes: [Node]
    var migrations: [Migration]
    var steps: [PlannedLine]
    /// What is undone, in this order, when something fails just before the lift.
    var undo: [PlannedLine]
    /// Drift and everything else to look at before.
    var findings: [Diagnostic]
    /// Whether applying changes anything; `nil` when the nodes are not known.
    var isPending: Bool?

    struct Node: Codable, Hashable, Sendable {
        var name: NodeName
        /// Counts from 1.
        var batch: Int
        var release: ReleaseName?
        var isUpToDate: Bool
        var lastSeen: Span?
    }

    struct Migration: Codable, Hashable, Sendable {
        var version: String
        var phase: MigrationPhase
        var canBeUndone: Bool
        /// The label of its database; `nil` where the plan has one.
        var database: DatabaseName?

        private enum CodingKeys: String, CodingKey {
            case version, canBeUndone, database
            case phase = "moment"
        }
    }

    struct PlannedLine: Codable, Hashable, Sendable {
        var phase: Phase
        var step: Step
        var title: String
        var details: [String]
    }
}

extension Forecast {
    /// What the coordinator knows that matters to a plan.
    struct World: Sendable {
        var nodes: [NodeView]
        /// The run that has the fleet now.
        var holder: RunSummary?
        /// What preflight would find in the database; empty when it was not asked.
        var database: [Diagnostic] = []
        /// The last write window of the fleet; `nil` where nobody knows of one.
        var lastWindow: PastWindow?
    }

    /// The write window of a run that was done.
    struct PastWindow: Sendable {
        var run: RunIdentifier
        var release: ReleaseName
        var length: Span
    }

    /// Why the coordinator would not take this plan for certain, as far as that can be known without the bundle.
    static func refusal(of plan: Plan, _ world: World) -> Refusal? {
        let selected = selected(by: plan.selection, world)
        if selected.isEmpty { return .noNodes }
        let known = Set(world.nodes.map(\.name))
        return selected.first { !known.contains($0) }.map { .unknownNode($0) }
    }

    /// - Parameter world: `nil` when the coordinator was not asked or not reached.
    init(_ prepared: PreparedPlan, world: World?) {
        let plan = prepared.plan
        self.plan = prepared.file
        fleet = plan.fleet
        release = prepared.release
        files = prepared.bundle.manifest.entries.count
        bytes = prepared.bundle.manifest.totalSize
        findings = prepared.findings
        migrations = prepared.migrations.flatMap { directory in
            directory.migrations.map {
                Migration(
                    version: $0.title, phase: $0.phase, canBeUndone: $0.down != nil,
                    database: directory.database)
            }
        }
        let selected = Forecast.selected(by: plan.selection, world)
        batches = (try? plan.rollout.batches(of: selected)) ?? []
        nodes = batches.enumerated().flatMap { index, batch in
            batch.map { Forecast.node($0, batch: index + 1, prepared.release, world) }
        }
        isPending = world == nil ? nil : nodes.contains { !$0.isUpToDate }
        // Of nodes that are not known, the sizes of the plan say as much as can be said.
        let count = batches.isEmpty ? 1 + plan.rollout.batches.count : batches.count
        let itinerary = Itinerary.forward(plan, batches: count)
        let preview = StepPreview(
            plan: plan, batches: batches,
            migrations: migrations.map {
                StepPreview.PlannedMigration(
                    version: $0.version, phase: $0.phase, canBeUndone: $0.canBeUndone,
                    database: $0.database)
            })
        func line(_ step: any StepDefinition) -> PlannedLine {
            PlannedLine(
                phase: step.phase, step: step.step, title: step.title(in: plan),
                details: step.details(preview))
        }
        steps = itinerary.map(line)
        let begun = itinerary.prefix { $0.phase != .lift }.map(\.step)
        undo = Itinerary.back(plan, from: itinerary, begun: Set(begun)).map(line)
        findings += drift(plan, world, selected)
        findings += Forecast.longWindow(plan, world?.lastWindow)
        // What the plan's own files say has been said.
        findings += (world?.database ?? []).filter { !findings.contains($0) }
    }

    /// Whether a run would be refused for certain.
    var isRefused: Bool { findings.contains { $0.severity == .error } }

    private static func selected(by selection: NodeSelection, _ world: World?) -> [NodeName] {
        switch selection {
        case .names(let names): names
        case .labels:
            world?.nodes.filter { selection.selects($0.name, labels: $0.labels) }.map(\.name) ?? []
        }
    }

    private static func node(
        _ name: NodeName, batch: Int, _ release: ReleaseReference, _ world: World?
    ) -> Node {
        let view = world?.nodes.first { $0.name == name }
        let active = view?.status?.active?.release
        return Node(
            name: name, batch: batch, release: active?.name, isUpToDate: active == release,
            lastSeen: view?.lastSeen)
    }

    /// What may take longer than a write is held, by what the fleet's last run has measured.
    private static func longWindow(_ plan: Plan, _ last: PastWindow?) -> [Diagnostic] {
        guard let last, case .hold(_, let hold) = plan.writes.admission, last.length > hold else {
            return []
        }
        return [
            Diagnostic(
                .warning, code: "long-window",
                "the last write window of this fleet, to \(last.release), took \(last.length.text), and this plan holds a write for \(hold)",
                advice:
                    "beyond it writes get a 503; lengthen `writes.hold_for`, or look where it went: sluice report \(last.run)"
            )
        ]
    }

    /// What is not as the plan expects.
    private func drift(_ plan: Plan, _ world: World?, _ selected: [NodeName]) -> [Diagnostic] {
        guard let world else { return [] }
        var findings: [Diagnostic] = []
        func warn(_ code: String, _ message: String, _ advice: String) {
            findings.append(Diagnostic(.warning, code: code, message, advice: advice))
        }
        if let holder = world.holder {
            warn(
                "fleet-held",
                "the fleet \(fleet) is held by run \(holder.run) of \(holder.startedBy) since \(holder.createdAt.text)",
                "watch it with: sluice status \(holder.run) --watch")
        }
        func warn(_ refusal: Refusal) {
            warn(refusal.code, refusal.message + "; a run would be refused", refusal.advice)
        }
        if selected.isEmpty { warn(.noNodes) }
        for name in selected {
            guard let view = world.nodes.first(where: { $0.name == name }) else {
                warn(.unknownNode(name))
                continue
            }
            guard let status = view.status else {
                warn("silent-node", "\(name) has not been heard", "is sluice-agent running there?")
                continue
            }
            if let seen = view.lastSeen, seen > .seconds(30) {
                warn(
                    "silent-node", "\(name) was last heard \(seen.text) ago",
                    "is sluice-agent running there?")
            }
            if let expected = plan.release.expected, status.active?.release.name != expected {
                let found = status.active?.release.name
                warn(
                    "drift", "\(name): \(Drift.reason(found: found, expected: expected))",
                    Drift(found: [name: found], expected: expected).advice)
            }
            if let reason = status.breakGlass {
                warn(
                    "break-glass", "the gate of \(name) was opened by hand: \(reason)",
                    "end that on the node with: sluice-agent break-glass end")
            }
        }
        return findings
    }
}
