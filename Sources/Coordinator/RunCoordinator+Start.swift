// SPDX-License-Identifier: Apache-2.0

import ContentDigest
public import ControlAPI
import Releases
import RunStore
import SteadyClock
import UpgradeEngine
public import UpgradeModel
import UpgradePlan

extension RunCoordinator {
    /// Starts a run: everything that can be found wrong without touching a node is found here.
    ///
    /// - Returns: the run; the same request again gives the run that it started.
    public func start(_ request: StartRun, by name: OperatorName) async throws(APIError) -> RunView
    {
        if let run = startedRun(by: request.request) { return view(of: run, at: clock.now) }
        let plan = try parse(request)
        let manifest = try await manifest(request.manifest, for: plan)
        try await requireBlobs(of: manifest)
        let migrations = try await keep(request.migrations, for: plan)
        try await renewInventory()
        let created = RunCreated(
            run: makeIdentifier(), fleet: plan.fleet, plan: request.plan,
            planFile: request.planFile,
            digest: Self.digest(of: request), release: manifest.reference, migrations: migrations,
            nodes: published.nodes(selectedBy: plan.selection), by: name, request: request.request)
        try await submit(.start(created))
        guard let run = startedRun(by: request.request) else { throw .ended }
        return view(of: run, at: clock.now)
    }

    private func startedRun(by request: String) -> Run? {
        published.runs.values.first { $0.created.request == request }
    }

    private func parse(_ request: StartRun) throws(APIError) -> Plan {
        guard (1...Limits.text).contains(request.request.utf8.count),
            request.planFile.utf8.count <= Limits.text
        else { throw .refused("the identifier of the request is empty or too long") }
        let document = PlanDocument.parse(text: request.plan, file: request.planFile)
        guard let plan = document.plan else {
            let errors = document.diagnostics.count { $0.severity == .error }
            throw APIError(
                code: "invalid-plan",
                message: "\(request.planFile) is not a valid plan: \(errors) errors",
                advice: "see `sluice validate \(request.planFile)`",
                diagnostics: document.diagnostics)
        }
        return plan
    }

    private func manifest(
        _ digest: Digest, for plan: Plan
    ) async throws(APIError) -> BundleManifest {
        let bytes: [UInt8]
        do throws(StoreFailure) {
            bytes = try await ports.blobs.readAll(
                digest, limit: BundleManifest.Limits().encodedSize)
        } catch {
            throw .refused(
                "the manifest of the release cannot be read: \(error.text)",
                "upload the bundle first; `sluice apply` does so")
        }
        let manifest: BundleManifest
        do throws(ReleaseFailure) {
            manifest = try BundleManifest(parsing: bytes)
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

    private func requireBlobs(of manifest: BundleManifest) async throws(APIError) {
        var missing: [BundleManifest.Entry] = []
        do throws(StoreFailure) {
            for entry in manifest.distinctEntries {
                let size = try await ports.blobs.size(of: entry.digest)
                if size != entry.size { missing.append(entry) }
            }
        } catch {
            throw APIError(error)
        }
        guard let first = missing.first else { return }
        throw .refused(
            "\(missing.count) files of release \(manifest.name) are not uploaded, among them \(first.path)",
            "upload the bundle first; `sluice apply` does so")
    }

    /// Keeps the migrations as blobs, so that every later leader has them.
    private func keep(
        _ files: [MigrationFile], for plan: Plan
    ) async throws(APIError) -> [MigrationReference] {
        guard files.count <= Limits.migrations,
            files.reduce(0, { $0 + $1.text.utf8.count }) <= Limits.migrationBytes
        else {
            throw .refused(
                "\(Limits.migrations) migrations of \(Limits.migrationBytes) bytes together are allowed at most"
            )
        }
        guard plan.database != nil || files.isEmpty else {
            throw .refused(
                "migrations were sent, and the plan names no database",
                "name it under database in the plan")
        }
        var references: [MigrationReference] = []
        for file in files {
            guard isSafeName(file.name) else {
                throw .refused(
                    "a migration has an unsafe file name", "name it NNNN_name.up.sql or .down.sql")
            }
            let bytes = Array(file.text.utf8)
            let digest = Digest.sha256(of: bytes)
            do throws(StoreFailure) {
                if try await ports.blobs.size(of: digest) == nil {
                    let receiver = try await ports.blobs.receive(digest, limit: Int64(bytes.count))
                    try await receiver.write(bytes)
                    try await receiver.finish()
                }
            } catch {
                throw APIError(error)
            }
            references.append(MigrationReference(name: file.name, digest: digest))
        }
        return references
    }

    /// What was approved is what is executed: one digest over plan, manifest and migrations.
    static func digest(of request: StartRun) -> Digest {
        var lines = ["sluice plan 1", "\(Digest.sha256(of: request.plan))", "\(request.manifest)"]
        for file in request.migrations {
            lines.append("\(file.name) \(Digest.sha256(of: file.text))")
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

/// `20261122-183012` in UTC. Source of the conversion: Howard Hinnant, chrono-compatible low-level date algorithms.
func timestamp(_ instant: Instant) -> String {
    let seconds = instant.milliseconds / 1000
    let days = seconds / 86_400 + 719_468
    let ofDay = seconds % 86_400
    let era = days / 146_097
    let dayOfEra = days % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let time = two(ofDay / 3600) + two(ofDay / 60 % 60) + two(ofDay % 60)
    return "\(year)\(two(month))\(two(day))-\(time)"
}
