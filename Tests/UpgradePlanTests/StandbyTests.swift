// SPDX-License-Identifier: Apache-2.0

import Testing
import TestSupport
import UpgradeModel

@testable import UpgradePlan

/// Reads from a standby: how a plan says so.
@Suite struct StandbyTests {
    private let text = """
        fleet: guestbook
        nodes: {labels: {role: web}}
        release: {name: v2, bundle: b}
        database:
          url: env:DATABASE_URL
          migrate_with: {run: migrate, ledger: django}
          standby: {url: env:STANDBY_URL, lag: 7s, wal: 512MB}
        reads: {from: standby}
        rollout: {warm: [start-app], retire: [stop-app], health: {check: page}}

        """

    /// Also a tool that nothing undoes is no finding: the standby is the way back.
    @Test func everyKeyReachesThePlan() throws {
        let document = PlanDocument.parse(text: text, file: "p")
        #expect(document.diagnostics == [])
        let plan = try #require(document.plan)
        #expect(plan.reads == .standby)
        let standby = try #require(plan.frozenStandby)
        #expect(standby.url.description == "env:STANDBY_URL")
        #expect(standby.lag == .seconds(7))
        #expect(standby.wal == 512 << 20)
    }

    @Test func aClusterManagerIsAskedAtAnAddressThatThePlanDoesNotHold() throws {
        let managed = text.replacing(
            "wal: 512MB", with: "wal: 512MB, manager: {patroni: env:PATRONI_URL}")
        let plan = try #require(PlanDocument.parse(text: managed, file: "p").plan)
        #expect(plan.frozenStandby?.manager?.patroni.description == "env:PATRONI_URL")
        for wrong in ["http://127.0.0.1:8008", "''"] {
            let document = PlanDocument.parse(
                text: managed.replacing("env:PATRONI_URL", with: wrong), file: "p")
            #expect(document.plan == nil)
        }
        let empty = managed.replacing("{patroni: env:PATRONI_URL}", with: "{}")
        #expect(PlanDocument.parse(text: empty, file: "p").plan == nil)
    }

    /// One that the nodes' own actions switch runs once: nothing starts it there, and reads wait while it is switched.
    @Test func aVersionIsSwitchedToTheStandby() throws {
        let switched = text.replacing("bundle: b", with: "by: actions, version: \"2.0\"")
            .replacing("warm: [start-app], retire: [stop-app], ", with: "")
        let document = PlanDocument.parse(text: switched, file: "p")
        #expect(document.diagnostics == [])
        #expect(document.plan?.switchHold == Plan.Sessions.Hold(.seconds(10), atMost: 1000))
        let held = switched.replacing(
            "from: standby", with: "from: standby, hold_for: 3s, hold_at_most: 7")
        let plan = try #require(PlanDocument.parse(text: held, file: "p").plan)
        #expect(plan.switchHold == Plan.Sessions.Hold(.seconds(3), atMost: 7))
        #expect(PlanDocument.parse(text: text, file: "p").plan?.switchHold == nil)
        let served = switched.replacing("from: standby", with: "from: primary")
        #expect(PlanDocument.parse(text: served, file: "p").plan?.switchHold == nil)
    }

    /// They are what shows in stage which pages write while they read.
    @Test func theReaderIsAskedForTheStartChecksToo() {
        let more = text.replacing("rollout: {", with: "rollout: {start_checks: [entries], ")
        #expect(PlanDocument.parse(text: more, file: "p").diagnostics == [])
    }

    @Test func whatIsNotSaidIsTheDefault() throws {
        let short = text.replacing(", lag: 7s, wal: 512MB", with: "")
        let plan = try #require(PlanDocument.parse(text: short, file: "p").plan)
        #expect(plan.frozenStandby?.lag == .seconds(5))
        #expect(plan.frozenStandby?.wal == 10 << 30)
    }

    @Test func aStandbyIsFrozenOnlyWhereReadsComeFromIt() throws {
        let served = text.replacing("reads: {from: standby}", with: "reads: {from: primary}")
        let plan = try #require(PlanDocument.parse(text: served, file: "p").plan)
        #expect(plan.reads == .serve)
        #expect(plan.frozenStandby == nil)
        #expect(plan.databases.first?.standby != nil)
    }

    /// Nobody who says nothing is given pages of code that meets a schema which it does not know.
    @Test func readsAreHeldWhenTheStandbyIsLostUnlessThePlanServesThem() throws {
        func plan(_ more: String) -> PlanDocument {
            let reads = text.replacing("{from: standby}", with: "{from: standby\(more)}")
            return PlanDocument.parse(text: reads, file: "p")
        }
        #expect(
            plan("").plan?.readsWithoutStandby == .hold(for: .seconds(10), atMost: 1000))
        let held = plan(", when_standby_is_lost: hold, hold_for: 3s, hold_at_most: 7")
        #expect(held.diagnostics == [])
        #expect(held.plan?.readsWithoutStandby == .hold(for: .seconds(3), atMost: 7))
        #expect(plan(", when_standby_is_lost: serve").plan?.readsWithoutStandby == .serve)
    }

    /// It says nothing of a plan that freezes none.
    @Test func aStandbyThatIsNotReadIsNotLost() {
        let served = text.replacing("{from: standby}", with: "{when_standby_is_lost: serve}")
        let document = PlanDocument.parse(text: served, file: "p")
        #expect(
            document.diagnostics.contains {
                $0.code == "no-effect" && $0.message.contains("reads.when_standby_is_lost")
            })
    }

    @Test(
        arguments: [
            ("64MB", 64 << 20), ("10GB", 10 << 30), ("2TB", 2 << 40), ("10", nil), ("GB", nil),
            ("-1GB", nil), ("1.5GB", nil), ("10 GB", nil), ("10gb", nil), ("1234567890GB", nil),
            ("999999999TB", nil),
        ] as [(String, Int64?)])
    func aSizeIsAWholeNumberAndAUnit(text: String, bytes: Int64?) {
        #expect(ByteCount.read(text) == bytes)
        if let bytes { #expect(ByteCount.text(bytes) == text) }
    }

    /// A person who has changed one line of it by mistake gets a plan, or findings with places.
    @Test func aLineThatIsLeftOutOrMutilatedNeverStopsTheProcess() {
        let lines = text.split(separator: "\n").map(String.init)
        for index in lines.indices {
            for line in [
                nil, lines[index] + "}", String(lines[index].dropLast(3)), "  " + lines[index],
            ] {
                var variant = lines
                if let line { variant[index] = line } else { variant.remove(at: index) }
                let document = PlanDocument.parse(
                    text: variant.joined(separator: "\n"), file: "m")
                #expect(document.diagnostics.allSatisfy { $0.position != nil })
                #expect(!document.diagnostics.contains { $0.code == "internal" })
                #expect(
                    (document.plan == nil)
                        == document.diagnostics.contains { $0.severity == .error })
            }
        }
    }
}
