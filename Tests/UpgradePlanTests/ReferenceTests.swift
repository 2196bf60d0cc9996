// SPDX-License-Identifier: Apache-2.0

import Testing
import TestSupport
import UpgradeModel

@testable import Documents
@testable import UpgradePlan

/// `plans/reference.yaml` is the documentation of the keys and must not drift from the validator.
@Suite struct ReferenceTests {
    @Test func theReferenceIsAPlanWithoutAnyFinding() throws {
        let document = PlanDocument.parse(text: try Files.plan("reference.yaml"), file: "r")
        #expect(document.diagnostics == [])
        #expect(document.plan != nil)
    }

    @Test func theReferenceHasEveryKeyOfTheValidatorAndNoOther() throws {
        let written = try keys().map(\.path)
        let known = PlanKeys.table.paths.map(\.path).filter { !$0.hasPrefix("databases.") }
        #expect(Set(written) == Set(known))
    }

    /// They are written once, under `database`.
    @Test func databasesHaveTheKeysOfDatabaseAndNoOther() {
        func annotations(_ section: String) -> [String: String] {
            var annotations: [String: String] = [:]
            for (path, key) in PlanKeys.table.paths where path.hasPrefix("\(section).") {
                annotations[String(path.dropFirst(section.count + 1))] = key.annotation
            }
            return annotations
        }
        #expect(annotations("databases") == annotations("database"))
        #expect(annotations("databases").count > 20)
    }

    @Test func everyKeyOfTheReferenceStatesItsTypeRangeAndDefault() throws {
        let table = Dictionary(uniqueKeysWithValues: PlanKeys.table.paths.map { ($0.path, $0.key) })
        for key in try keys() where !key.isRepeated {
            #expect(key.annotation == table[key.path]?.annotation, "\(key.path)")
        }
    }

    @Test func everyKeyOfTheReferenceIsExplainedInWords() throws {
        for key in try keys() where !key.isRepeated {
            #expect(key.explanation.count > 10, "\(key.path)")
        }
    }

    @Test
    func theAlternativesBehindAreKeysWithValuesThatValidate() throws {
        let lines = try Files.plan("reference.yaml").split(
            separator: "\n", omittingEmptySubsequences: false
        ).map(String.init)
        let all = lines.map {
            $0.contains(#/^ *#[a-z_]+:( |$)/#) ? $0.replacing("#", with: "") : $0
        }
        #expect(lines != all)
        let document = PlanDocument.parse(text: all.joined(separator: "\n"), file: "r")
        #expect(Set(document.diagnostics.map(\.code)) == ["exclusive", "no-effect", "standby"])
    }

    @Test func everyDefaultIsTheOneOfThePlanItself() {
        let document = PlanDocument.parse(text: minimal(), file: "p")
        let names = ["web-1", "web-2", "web-3"].map(NodeName.init(unchecked:))
        let plan = Plan(
            fleet: FleetName(unchecked: "guestbook"), selection: .names(names),
            release: .init(name: ReleaseName(unchecked: "v2"), bundle: "../bundle"),
            rollout: .init(health: .init(check: HealthCheckName(unchecked: "page"))))
        #expect(document.plan == plan)
        #expect(document.diagnostics == [])
    }

    @Test func everyDefaultOfTheTableIsOfItsKind() {
        let values = DocumentValues(defaultsOf: PlanKeys.table, file: "p")
        for (path, key) in PlanKeys.table.paths where !path.hasPrefix("hooks.") {
            if case .fallback = key.presence { #expect(values.value(path) != nil, "\(path)") }
        }
    }

    private func keys() throws -> [ReferenceKey] {
        // Labels and the names of databases are the operator's own words.
        referenceKeys(try Files.plan("reference.yaml"), named: ["databases"]).filter {
            !$0.path.hasPrefix("nodes.labels.") && !$0.path.hasPrefix("databases.")
        }
    }
}
