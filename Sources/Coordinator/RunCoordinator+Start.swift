// SPDX-License-Identifier: Apache-2.0

import ContentDigest
public import ControlAPI
import FoundationEssentials
import MigrationReader
import Releases
import RunStore
import SteadyClock
import UpgradeEngine
public import UpgradeModel
import UpgradePlan

extension RunCoordinator {
    /// Starts a run: everything that can be found wrong without touching a node is found here.
    ///
    /// - Returns: the run; the same request again gives the run that it started, while that one is the fleet's latest.
    public func start(_ request: StartRun, by name: OperatorName) async throws(APIError) -> RunView
    {
        guard (1...Self.identifierLimit).contains(request.request.utf8.count),
            request.planFile.utf8.count <= Limits.text
        else { throw .refused("the identifier of the request is empty or too long") }
        let digest = await WorkLane.requests.run { Self.digest(of: request) }
        try await readOldStarts()
        if let run = try startedRun(request.request, by: name, digest) {
            return view(of: run, at: clock.now)
        }
        try await alone(request.request) { () throws(APIError) in
            try await begin(request, by: name, digest)
        }
        guard let run = try startedRun(request.request, by: name, digest) else { throw .ended }
        return view(of: run, at: clock.now)
    }

    private func begin(
        _ request: StartRun, by name: OperatorName, _ digest: Digest
    ) async throws(APIError) {
        try await requireSpace { $0.free >= $0.reserve }
        let plan = try await readPlan(request.plan, file: request.planFile)
        let manifest = try await readManifest(request.manifest, for: plan, in: ports.blobs)
        try await requireBlobs(of: manifest, in: ports.blobs)
        let migrations = try await keep(request.migrations, for: plan)
        try await renewInventory()
        let nodes = published.nodes(selectedBy: plan.selection)
        try await requireAssets(of: manifest, on: nodes)
        let created = RunCreated(
            run: makeIdentifier(), fleet: plan.fleet, plan: request.plan,
            planFile: request.planFile, digest: digest, release: manifest.reference,
            migrations: migrations, nodes: nodes, by: name,
            request: request.request)
        try await submit(.start(created))
        memory.note(request.request, by: name, .start(created.run, digest))
    }

    /// The run that a start has begun; refused when a later run of its fleet has come since.
    private func startedRun(
        _ request: String, by name: OperatorName, _ digest: Digest
    ) throws(APIError) -> Run? {
        guard let identifier = try memory.startedRun(request, by: name, digest) else { return nil }
        guard let run = published.run(identifier) else {
            throw .used(
                request, "to start run \(identifier), which has ended; nothing is started again")
        }
        return run
    }

    /// The identifiers of starts whose runs were not folded when this coordinator took the lead: read once somebody starts one.
    private func readOldStarts() async throws(APIError) {
        guard !hasReadOldStarts else { return }
        let folded = Set(published.runs.values.map(\.identifier))
        do {
            for created in try await ports.journal.oldStarts(without: folded) {
                memory.note(.created(created), of: created.run)
            }
            hasReadOldStarts = true
        } catch let failure as StoreFailure {
            throw APIError(failure)
        } catch {
            throw APIError(.unavailable, message: "\(error)")
        }
    }

    /// Reads down files together with the up files that they undo, and keeps them as blobs.
    func keepDown(
        _ files: [MigrationFile], of identifier: RunIdentifier
    ) async throws(APIError) -> [MigrationReference] {
        guard let run = published.run(identifier) else {
            throw APIError(Refusal.noSuchRun(identifier))
        }
        let names = Set(files.map(\.name))
        guard names.count == files.count else { throw .refused("a down file is named twice") }
        var whole = files
        do throws(DatabaseFailure) {
            for reference in run.migrations(of: run.databaseAtWork)
            where !names.contains(reference.name) {
                whole.append(try await migration(reference))
            }
        } catch {
            throw .refused(error.message, error.advice)
        }
        let all = whole
        do throws(MigrationSet.Invalid) {
            _ = try await WorkLane.requests.run { () throws(MigrationSet.Invalid) in
                try MigrationSet.read(
                    all.map { MigrationSet.File(name: $0.name, text: $0.text) })
            }
        } catch {
            throw APIError(
                .refused, message: "the down file is not valid",
                advice: "mend it; `sluice validate PLAN` reads it as well",
                diagnostics: error.findings)
        }
        let label = run.databaseAtWork
        return try await keep(
            files.map { MigrationFile(name: $0.name, text: $0.text, database: label) },
            for: run.plan)
    }

    /// Keeps the migrations as blobs, so that every later leader has them.
    private func keep(
        _ files: [MigrationFile], for plan: Plan
    ) async throws(APIError) -> [MigrationReference] {
        try requireBounds(of: files)
        guard !plan.databases.isEmpty || files.isEmpty else {
            throw .refused(
                "migrations were sent, and the plan names no database",
                "name it under database in the plan")
        }
        let labels = Set(plan.databases.map { plan.label(of: $0) })
        guard files.allSatisfy({ labels.contains($0.database) }) else {
            throw .refused(
                "migrations were sent for a database that the plan does not name",
                "bring the plan with the `sluice` of the coordinator's version")
        }
        var references: [MigrationReference] = []
        for file in files {
            guard isSafeName(file.name) else {
                throw .refused(
                    "a migration has an unsafe file name", "name it NNNN_name.up.sql or .down.sql")
            }
            let bytes = Array(file.text.utf8)
            let digest = await WorkLane.requests.run { Digest.sha256(of: bytes) }
            do throws(StoreFailure) {
                if try await ports.blobs.renew(digest) == nil {
                    let receiver = try await ports.blobs.receive(digest, limit: Int64(bytes.count))
                    try await receiver.write(bytes)
                    try await receiver.finish()
                }
            } catch {
                throw APIError(error)
            }
            references.append(
                MigrationReference(name: file.name, digest: digest, database: file.database))
        }
        return references
    }

    /// What was approved is what is executed: one digest over plan, manifest and migrations.
    static func digest(of request: StartRun) -> Digest {
        var lines = ["sluice plan 1", "\(Digest.sha256(of: request.plan))", "\(request.manifest)"]
        for file in request.migrations {
            let directory = file.database.map { "\($0)/" } ?? ""
            lines.append("\(directory)\(file.name) \(Digest.sha256(of: file.text))")
        }
        return Digest.sha256(of: lines.joined(separator: "\n"))
    }

    /// `20261122-183012-x7k2`: sorts by time, is said easily, and does not repeat after a restart within one second.
    private func makeIdentifier() -> RunIdentifier {
        let letters = Array("abcdefghjkmnpqrstuvwxyz23456789")
        let tail = String((0..<4).map { _ in letters.randomElement() ?? "a" })
        return RunIdentifier(unchecked: "\(timestamp(clock.now))-\(tail)")
    }
}

func requireBounds(of files: [MigrationFile]) throws(APIError) {
    guard files.count <= Limits.migrations,
        files.reduce(0, { $0 + $1.text.utf8.count }) <= Limits.migrationBytes
    else {
        throw .refused(
            "\(Limits.migrations) migrations of \(Limits.migrationBytes) bytes together are allowed at most"
        )
    }
}

/// `20261122-183012` in UTC.
func timestamp(_ instant: Instant) -> String {
    let date = Date(timeIntervalSince1970: Double(instant.milliseconds / 1000))
    let style = Date.ISO8601FormatStyle(timeZone: .gmt).year().month().day()
        .dateSeparator(.omitted).time(includingFractionalSeconds: false).timeSeparator(.omitted)
    return date.formatted(style).replacing("T", with: "-")
}

@concurrent func readPlan(_ text: String, file: String) async throws(APIError) -> Plan {
    let document = await WorkLane.requests.run { PlanDocument.parse(text: text, file: file) }
    guard let plan = document.plan else {
        let errors = document.diagnostics.count { $0.severity == .error }
        throw APIError(
            .invalidPlan,
            message: "\(file) is not a valid plan: \(errors) errors",
            advice: "see `sluice validate \(file)`",
            diagnostics: document.diagnostics)
    }
    return plan
}

@concurrent private func readManifest(
    _ digest: Digest, for plan: Plan, in blobs: any BlobStore
) async throws(APIError) -> BundleManifest {
    let bytes: [UInt8]
    do throws(StoreFailure) {
        _ = try await blobs.renew(digest)
        bytes = try await blobs.readAll(digest, limit: BundleManifest.SizeLimits().encodedSize)
    } catch {
        throw .refused(
            "the manifest of the release cannot be read: \(error.text)",
            "upload the bundle first; `sluice apply PLAN` does so")
    }
    let manifest: BundleManifest
    do throws(ReleaseFailure) {
        manifest = try await WorkLane.requests.run { () throws(ReleaseFailure) in
            try BundleManifest(parsing: bytes)
        }
    } catch {
        throw .refused("the manifest of the release is refused: \(error)")
    }
    guard manifest.name == plan.release.name else {
        throw .refused(
            "the bundle is release \(manifest.name), and the plan says \(plan.release.name)",
            "build the bundle again with the plan's name, or name \(manifest.name) under release in the plan"
        )
    }
    return manifest
}

/// Every file of the release is there, and stays for another hour: from then on the run keeps it.
@concurrent private func requireBlobs(
    of manifest: BundleManifest, in blobs: any BlobStore
) async throws(APIError) {
    var missing: [BundleManifest.Entry] = []
    do throws(StoreFailure) {
        for entry in manifest.distinctEntries {
            let size = try await blobs.renew(entry.digest)
            if size != entry.size { missing.append(entry) }
        }
    } catch {
        throw APIError(error)
    }
    guard let first = missing.first else { return }
    throw .refused(
        "\(missing.count) files of release \(manifest.name) are not uploaded, among them \(first.path)",
        "upload the bundle first; `sluice apply PLAN` does so")
}

extension Journal {
    /// How every run began but those that are known already.
    @concurrent fileprivate func oldStarts(
        without known: Set<RunIdentifier>
    ) async throws -> [RunCreated] {
        var starts: [RunCreated] = []
        for record in try await runs(limit: .max) where !known.contains(record.run) {
            guard let first = try await entries(of: record.run, limit: 1).first,
                case .created(let created) = first.event
            else { continue }
            starts.append(created)
        }
        return starts
    }
}
