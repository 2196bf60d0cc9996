// SPDX-License-Identifier: Apache-2.0

import Testing

/// Applications as people have them, with their own dependencies, sessions, uploads, workers and migrations.
extension FleetTests {
    /// First what goes wrong, each with its end, then the upgrade of docs/django.md: on one fleet whose visitors, worker and cron
    /// job go on all the time, all of them through pgbouncer with transaction pooling.
    @Test func aDjangoSiteIsUpgradedWhileThoseWhoAreLoggedInReadAndWrite() async throws {
        let run = try await runFleet("--pooler", "--fail", "all", harness: "site_demo.py")
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

    /// Alembic itself migrates, logged in as the role that owns the tables, and the migrator is a superuser.
    @Test func anApplicationThatStartsOnItsOwnSchemaOnlyIsStartedAfterTheMigration() async throws {
        let run = try await runFleet("--site", "alembic", "--tool", harness: "site_demo.py")
        #expect(run.fallen.isEmpty)
    }
}
