// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@testable import UpgradePlan

@Suite struct ExamplePlansTests {
    @Test func everyPlanOfTheRepositoryValidatesAndOnlyThoseWithoutAWayBackHaveAWarning() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Files.plans.path())
            .filter { $0.hasSuffix(".yaml") }.sorted()
        #expect(
            names == [
                "alembic.yaml", "django.yaml", "frappe.yaml", "frozen-replica.yaml",
                "guestbook-v2.yaml",
                "minimal.yaml", "php.yaml", "rails.yaml", "reference.yaml", "refuse.yaml",
                "two-databases.yaml",
            ])
        for name in names {
            let document = PlanDocument.parse(text: try Files.plan(name), file: name)
            // The applications' own programs have none: Frappe's, and MediaWiki's update.php.
            let hasWayBack = !["frappe.yaml", "php.yaml"].contains(name)
            let expected = hasWayBack ? [] : ["no-way-back"]
            #expect(document.diagnostics.map(\.code) == expected, "\(name)")
            #expect(document.plan != nil, "\(name)")
        }
    }

    @Test func theDemoHoldsReadsAndWritesAndRollsBack() throws {
        let plan = try #require(
            PlanDocument.parse(text: try Files.plan("guestbook-v2.yaml"), file: "g").plan)
        #expect(plan.selection == .labels(["role": "web"]))
        #expect(plan.release.expected?.rawValue == "v1")
        #expect(plan.database?.url.description == "env:SLUICE_DATABASE_URL")
        #expect(plan.writes.admission == .hold(atMost: 1000, for: .seconds(15)))
        #expect(plan.reads == .hold(for: .seconds(10), atMost: 1000))
        #expect(plan.rollout.warm.map(\.rawValue) == ["start-app"])
        #expect(plan.rollout.retire.map(\.rawValue) == ["stop-app"])
        #expect(plan.onFailure == .rollback)
    }

    @Test func everyKeyOfTheReferenceReachesThePlan() throws {
        let plan = try #require(
            PlanDocument.parse(text: try Files.plan("reference.yaml"), file: "r").plan)
        #expect(plan.rollout.batches == [.nodes(1), .nodes(5), .percent(20)])
        #expect(plan.release.assets == "static/assets")
        #expect(plan.sessions == .init(.cookie("sessionid"), hold: (.seconds(15), 1000)))
        #expect(plan.rollout.maxUnavailable == .percent(25))
        #expect(plan.rollout.actions.map(\.rawValue) == ["reload-workers"])
        #expect(plan.rollout.caches.map(\.rawValue) == ["pages"])
        #expect(plan.database?.statementTimeout == .minutes(5))
        #expect(plan.database?.lockTimeout == .milliseconds(200))
        #expect(plan.database?.owner == "guestbook_owner")
        #expect(plan.database?.trusted == ["monitoring"])
        #expect(plan.database?.readers == ["backup"])
        #expect(plan.drain.readers == .leave)
        #expect(plan.drain.sessions == .leave)
        #expect(plan.database?.tls == .required)
        #expect(plan.database?.fence == .owner)
        #expect(plan.database?.accepted == [.definitions, .largeObjects])
        #expect(plan.approvals == [.readOnly])
        #expect(
            plan.hooks == [
                Plan.Hook(
                    .before, .readOnly, action: ActionName(unchecked: "announce"),
                    target: .node(NodeName(unchecked: "web-1")),
                    undo: ActionName(unchecked: "withdraw"), until: .lift),
                Plan.Hook(.after, .verify, action: ActionName(unchecked: "smoke-test")),
                Plan.Hook(
                    .before, .readOnly, action: ActionName(unchecked: "pause-jobs"),
                    undo: ActionName(unchecked: "resume-jobs"), until: .lift),
                Plan.Hook(
                    .before, .drain, action: ActionName(unchecked: "say-read-only"),
                    target: .oneNode, undo: ActionName(unchecked: "say-normal"), until: .verify),
            ])
    }

    @Test func aVersionReachesThePlanInsteadOfABundle() throws {
        let text = try Files.plan("minimal.yaml").replacing(
            #/bundle: .*/#, with: "by: actions\n  version: sha256:ab12")
        let document = PlanDocument.parse(text: text, file: "p")
        let plan = try #require(document.plan, "\(document.diagnostics)")
        #expect(plan.release.version == "sha256:ab12")
        #expect(plan.release.bundle == nil)
        #expect(document.named.version == "sha256:ab12" && document.named.bundle == nil)
    }

    @Test func eachSpanReachesItsOwnField() throws {
        let rows: [(String, KeyPath<Plan, Span>)] = [
            ("lease: 7s", \.lease), ("drain: {timeout: 7s}", \.drain.timeout),
            ("deadlines: {preflight: 7s}", \.deadlines.preflight),
            ("deadlines: {stage: 7s}", \.deadlines.stage),
            ("deadlines: {read-only: 7s}", \.deadlines.readOnly),
            ("deadlines: {migrate: 7s}", \.deadlines.migrate),
            ("deadlines: {verify: 7s}", \.deadlines.verify),
            ("deadlines: {lift: 7s}", \.deadlines.lift),
            ("deadlines: {finish: 7s}", \.deadlines.finish),
            ("writes: {retry_after: 7s}", \.writes.retryAfter),
        ]
        for (text, path) in rows {
            let plan = try #require(PlanDocument.parse(text: minimal(more: text), file: "p").plan)
            #expect(plan[keyPath: path] == .seconds(7), "\(text)")
            #expect(rows.count { plan[keyPath: $0.1] == .seconds(7) } == 1, "\(text)")
        }
    }

    @Test func everyPhaseHasADeadline() throws {
        let plan = try #require(
            PlanDocument.parse(
                text: minimal(
                    rollout: "",
                    more: """
                        drain: {timeout: 4s}
                        deadlines: {preflight: 1s, stage: 2s, read-only: 3s, verify: 7s, lift: 8s}
                        """), file: "p"
            ).plan)
        let spans = Phase.allCases.map { plan.deadline(of: $0).description }
        #expect(spans == ["1s", "2s", "3s", "4s", "10m", "5m", "7s", "8s", "10m"])
    }
}
