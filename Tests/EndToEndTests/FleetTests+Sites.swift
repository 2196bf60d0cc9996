// SPDX-License-Identifier: Apache-2.0

import Testing

/// Applications as people have them, with their own dependencies, sessions, uploads, workers and migrations.
extension FleetTests {
    /// First what goes wrong, each with its end, then the upgrade of docs/django.md: on one fleet whose visitors, worker and cron
    /// job go on all the time, all of them through pgbouncer with transaction pooling. In the upgrade somebody who is logged in has
    /// pages open in a browser, with half-typed forms.
    @Test func aDjangoSiteIsUpgradedWhileThoseWhoAreLoggedInReadAndWrite() async throws {
        let run = try await runFleet(
            "--browser", "--pooler", "--fail", "all", harness: "site_demo.py")
        #expect(run.fallen.isEmpty)
    }

    /// The reads of those who are logged in are held, and the migrator is no superuser. First a plan that accepts nothing, and a
    /// release that is not healthy, from which the tool goes back; then the upgrade, in which the tool is killed between two
    /// migrations.
    @Test func aDjangoSiteIsMigratedByItsOwnToolWithoutASuperuser() async throws {
        let run = try await runFleet(
            "--tool", "--fence", "owner", "--fail", "all", harness: "site_demo.py")
        #expect(run.fallen.isEmpty)
    }

    /// The migrator is no superuser. First a plan that accepts nothing, and a release that is not healthy, from which `db:migrate`
    /// goes back, with a look at a page of somebody who is logged in, behind the fence; then the upgrade of docs/rails.md.
    @Test func aRailsSiteIsMigratedByItsOwnToolWhileThoseWhoAreLoggedInReadAndWrite() async throws {
        let run = try await runFleet(
            "--site", "rails", "--fence", "owner", "--fail", "all", harness: "site_demo.py")
        #expect(run.fallen.isEmpty)
    }

    /// scripts/acceptance-frappe on benches of a stand-in, with plans/frappe.yaml and agents/frappe as they are. First an action behind
    /// the fence fails, which turns the run back; then the upgrade, in which `bench migrate` is killed between two patches.
    @Test func aSiteOfFrappeIsUpgradedAndItsSwitchesStandForAsLongAsTheFence() async throws {
        let run = try await runFleet(
            "--standin", "--fail", "drain", "--kill", "migration", harness: "frappe_acceptance.py")
        #expect(run.fallen.isEmpty)
    }

    /// Killed in each phase, or failing there: every end has the switches as they were.
    @Test(
        .enabled(if: isWhole),
        arguments: phases)
    func aSiteOfFrappeHasItsSwitchesAsTheyWereWhateverHappens(phase: String) async throws {
        for options in [["--fail", phase], ["--kill", "agent"], ["--kill", "coordinator"]] {
            let place = options[0] == "--kill" ? ["--in", phase] : []
            let run = try await runFleet(options + place, harness: "frappe_demo.py")
            #expect(run.fallen.isEmpty)
        }
    }

    /// Alembic itself migrates, logged in as the role that owns the tables, and the migrator is a superuser.
    @Test func anApplicationThatStartsOnItsOwnSchemaOnlyIsStartedAfterTheMigration() async throws {
        let run = try await runFleet("--site", "alembic", "--tool", harness: "site_demo.py")
        #expect(run.fallen.isEmpty)
    }
}
