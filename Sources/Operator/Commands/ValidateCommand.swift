// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MigrationReader
internal import Releases
internal import UpgradeEngine
internal import UpgradeModel
internal import UpgradePlan

struct ValidateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract: "Check a plan, its bundle and its migrations on this machine.",
        discussion: """
            Needs no coordinator and no database. Says what cannot be undone. Exit code 3 when the plan is not valid.

            EXAMPLES
              sluice validate plans/guestbook-v2.yaml
              sluice validate plan.yaml --json | jq .diagnostics
            """)

    @Argument(help: "The plan.", completion: .file(extensions: ["yaml", "yml"]))
    var plan: String

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        try await perform(.standard())
    }

    func perform(_ console: Console) async throws {
        // What is not valid is this command's answer, not its failure.
        do throws(CommandFailure) {
            let prepared = try await PreparedPlan.read(plan, console)
            answer(Answer(prepared), prepared, console)
        } catch {
            if error.exit != .refused {
                return try await conclude(json: json, console: console) {
                    () throws(CommandFailure) in throw error
                }
            }
            answer(Answer(plan: plan, valid: false, diagnostics: error.diagnostics), nil, console)
            throw ExitCode(CommandExit.refused.rawValue)
        }
    }

    private func answer(_ answer: Answer, _ prepared: PreparedPlan?, _ console: Console) {
        if json { return console.line(jsonLine(answer)) }
        for diagnostic in answer.diagnostics { console.line(printable(diagnostic.description)) }
        guard let prepared else {
            let errors = answer.diagnostics.count { $0.severity == .error }
            return console.line("\(plan): not valid, \(counted(errors, "error"))")
        }
        let manifest = prepared.bundle.manifest
        console.line("\(plan): valid")
        console.line(
            "bundle \(manifest.name): \(counted(manifest.entries.count, "file")), \(bytes(manifest.totalSize)), "
                + "manifest \(prepared.release.manifest.short), assets \(manifest.assets?.text ?? "none")"
        )
        for directory in prepared.migrations {
            let which = directory.database.map { " of \($0)" } ?? ""
            for phase in MigrationPhase.allCases {
                let versions = directory.migrations.filter { $0.phase == phase }.map(\.title)
                if versions.isEmpty { continue }
                console.line(
                    "migrations\(which), \(phase.rawValue): \(versions.joined(separator: ", "))")
            }
        }
        for database in prepared.plan.toolDatabases {
            for line in ValidateCommand.tool(of: database, prepared.plan) { console.line(line) }
        }
        if let standby = prepared.plan.frozenStandby {
            console.line(
                "standby \(standby.url): frozen for the window, read by the old release, and promoted where the run turns back"
            )
            console.line(
                "standby lost in the window: \(prepared.plan.fateOfReaders); while nothing is migrated, the run turns back"
            )
            if let manager = standby.manager {
                console.line(
                    "Patroni \(manager.patroni): paused from before the window to the end")
            }
        }
        let staying = prepared.migrations.cannotBeUndone
        if !staying.isEmpty {
            console.line("cannot be undone once applied: \(staying.joined(separator: ", "))")
        }
    }

    /// What the application's own migration tool of a database does, and where the way back ends.
    private static func tool(of database: Plan.Database, _ plan: Plan) -> [String] {
        guard let tool = database.tool else { return [] }
        let name = "migration tool" + (plan.label(of: database).map { " of \($0)" } ?? "")
        let node = tool.node.map { " on \($0)" } ?? ""
        let back =
            plan.frozenStandby.map { _ in "the way back is the frozen standby" }
            ?? tool.revert.map { "undone by the action \($0)" }
            ?? "nothing undoes it, so the way back ends at its first change"
        let moments: [String?] = [
            tool.preview.map { "asked in stage what it would do: the action \($0)" },
            tool.expand.map { "before the window: the action \($0)" },
            tool.contract.map { "after the lift: the action \($0)" },
        ]
        let lines = moments.compactMap { $0 }.map { "\(name), \($0)" }
        return lines + ["\(name): the action \(tool.action)\(node); \(back)"]
    }

    struct Answer: Codable, Hashable, Sendable {
        var type = "validation"
        var plan: String
        var valid: Bool
        var release: ReleaseReference?
        var cannotBeUndone: [String] = []
        var diagnostics: [Diagnostic]

        init(plan: String, valid: Bool, diagnostics: [Diagnostic]) {
            self.plan = plan
            self.valid = valid
            self.diagnostics = diagnostics
        }

        init(_ prepared: PreparedPlan) {
            self.init(plan: prepared.file, valid: true, diagnostics: prepared.findings)
            release = prepared.release
            cannotBeUndone = prepared.migrations.cannotBeUndone
        }
    }
}
