// SPDX-License-Identifier: Apache-2.0

import Documents
public import UpgradeModel

/// A plan as it was written, which may be wrong, with everything that was found about it.
///
/// Reading goes on past every error that leaves something to read, so that one look shows them all.
/// Anchors, aliases, tags, keys given twice, more than 1 MiB, more than 64 levels, an empty selection
/// and secrets written in clear are refused.
public struct PlanDocument: Sendable {
    /// The file's name as it is shown in diagnostics.
    public let file: String
    /// What the document says; `nil` when there is an error.
    public let plan: Plan?
    /// Errors and warnings in the order of the text, each with its place and with what to write instead.
    public let diagnostics: [Diagnostic]
    /// What the document names on the operator's disk, as far as that can be read, also when there are errors: what is missing
    /// there is found in the same look.
    public let named: NamedFiles

    /// Paths as they are written, relative to the plan's own directory.
    public struct NamedFiles: Sendable {
        public var release: ReleaseName?
        public var bundle: String?
        /// Instead of a bundle.
        public var version: String?
        public var assets: String?
        /// Those of each database, in the order in which they are migrated.
        public var databases: [OfDatabase] = []

        public struct OfDatabase: Hashable, Sendable {
            public var name: DatabaseName
            /// `nil` where only a tool migrates.
            public var migrations: String?
        }
    }

    /// Reads a plan from the text of a file.
    ///
    /// - Parameter file: the name to show in diagnostics, as the operator gave it.
    public static func parse(text: String, file: String) -> PlanDocument {
        parse(Document.read(text: text, file: file, rules: PlanKeys.rules))
    }

    /// Reads the plan that a run was started with: it was found valid then, maybe by an earlier version.
    ///
    /// Rules for plans that are handed in are not asked again; see docs/decisions/stored-plans.md for what keeps its meaning.
    ///
    /// - Returns: `nil` when the text gives no plan at all.
    public static func stored(text: String, file: String) -> Plan? {
        parse(Document.read(text: text, file: file, rules: PlanKeys.rules, isStored: true)).plan
    }

    private static func parse(_ document: Document) -> PlanDocument {
        var findings = document.findings
        if let values = document.values {
            var checks = PlanChecks(values: values, findings: findings)
            checks.run()
            findings = checks.findings
        }
        let hasErrors = findings.hasErrors
        let plan = hasErrors ? nil : document.values.flatMap { PlanBuilder(values: $0).build() }
        if plan == nil && !hasErrors {
            // A fault of the checks; a text from outside must not be able to stop a coordinator.
            findings.error(
                "internal", at: findings.start,
                "no plan could be made although nothing was found to be wrong",
                advice: "compare it with `plans/reference.yaml`, and report this text as a bug")
        }
        return PlanDocument(
            file: findings.file, plan: plan, diagnostics: findings.finished(),
            named: NamedFiles(document.values))
    }

    /// Reads a plan from the bytes of a file, which must be UTF-8.
    public static func parse(bytes: some Collection<UInt8>, file: String) -> PlanDocument {
        parse(Document.read(bytes: bytes, file: file, rules: PlanKeys.rules))
    }
}

extension PlanDocument.NamedFiles {
    fileprivate init(_ values: DocumentValues?) {
        guard let values else { return }
        release = values.name("release.name")
        if values.text("release.by") == "actions" {
            version = values.text("release.version")
        } else {
            bundle = values.text("release.bundle")
        }
        assets = values.text("release.assets")
        databases = values.databases.map {
            OfDatabase(name: $0.name, migrations: $0.values.text($0.path("migrations")))
        }
    }
}
