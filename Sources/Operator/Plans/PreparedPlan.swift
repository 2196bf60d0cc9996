// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import Releases
internal import UpgradeModel
internal import UpgradePlan

/// A plan with everything that it names on the operator's own disk: the bundle and the migrations.
struct PreparedPlan: Sendable {
    /// As the operator gave it.
    var file: String
    var text: String
    var plan: Plan
    var bundle: Bundle
    /// Those of each database, in the order in which they are migrated.
    var migrations: [MigrationDirectory]
    /// Warnings and notes.
    var findings: [Diagnostic]

    var release: ReleaseReference { bundle.manifest.reference }

    /// The run to start, all by value or by digest.
    func start(request: String) -> StartRun {
        StartRun(
            request: request, plan: text, planFile: file, manifest: release.manifest,
            migrations: migrations.files)
    }

    /// What its databases are asked before there is a run.
    var databaseQuestion: DatabaseQuestion {
        DatabaseQuestion(plan: text, planFile: file, migrations: migrations.files)
    }

    /// Reads the plan and what it names; needs no coordinator and no database.
    ///
    /// - Throws: a refusal with every finding.
    static func read(
        _ file: String, _ console: Console
    ) async throws(CommandFailure) -> PreparedPlan {
        try await console.during("reading \(file) and its bundle") { () throws(CommandFailure) in
            try await read(file)
        }
    }

    private static func read(_ file: String) async throws(CommandFailure) -> PreparedPlan {
        let result = await offPool { () -> Result<PreparedPlan, CommandFailure> in
            do throws(CommandFailure) { return .success(try readBlocking(file)) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func readBlocking(_ file: String) throws(CommandFailure) -> PreparedPlan {
        let bytes = try TextFile.bytes(of: file, what: "plan", limit: 2 << 20)
        let document = PlanDocument.parse(bytes: bytes, file: file)
        var findings = document.diagnostics
        // What the plan names is looked at even when its keys are wrong: one look shows all.
        let bundle = readBundle(document.named, file, &findings)
        let databases = document.named.databases
        let migrations = databases.map { database in
            var found: [Diagnostic] = []
            let directory = MigrationDirectory.read(
                database.migrations.map { resolved($0, besides: file) },
                of: databases.count > 1 ? database.name : nil,
                reads: document.plan?.reads, &found)
            // Several may have the same directory.
            findings += found.filter { !findings.contains($0) }
            return directory
        }
        guard let plan = document.plan, let bundle,
            !findings.contains(where: { $0.severity == .error })
        else { throw refusal(file, findings) }
        return PreparedPlan(
            file: file, text: String(decoding: bytes, as: UTF8.self), plan: plan, bundle: bundle,
            migrations: migrations, findings: findings)
    }

    private static func readBundle(
        _ named: PlanDocument.NamedFiles, _ file: String, _ findings: inout [Diagnostic]
    ) -> Bundle? {
        if let version = named.version {
            let name = named.release ?? ReleaseName(unchecked: "unnamed")
            return try? Bundle.naming(version: version, name: name)
        }
        guard let path = named.bundle else { return nil }
        let directory = resolved(path, besides: file)
        do throws(Bundle.NotABundle) {
            let bundle = try Bundle.read(
                directory: directory, name: named.release ?? ReleaseName(unchecked: "unnamed"),
                assets: named.assets ?? AssetsDirectory.conventional(in: directory))
            findings += bundle.warnings
            return bundle
        } catch {
            findings += error.findings
            return nil
        }
    }

    private static func refusal(_ file: String, _ findings: [Diagnostic]) -> CommandFailure {
        let errors = findings.count { $0.severity == .error }
        return CommandFailure(
            .refused, code: "invalid-plan", "\(file) is not valid: \(counted(errors, "error"))",
            advice: "correct them; plans/reference.yaml describes every key", diagnostics: findings)
    }

    /// A path of a plan is relative to the plan's own directory.
    static func resolved(_ path: String, besides file: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let slash = file.lastIndex(of: "/") else { return path }
        return String(file[...slash]) + path
    }
}
