// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradePlan

/// Several databases in one plan, and how they are named.
@Suite struct DatabasesTests {
    private func plan(_ more: String) throws -> Plan {
        let document = PlanDocument.parse(text: minimal(more: more), file: "p")
        return try #require(document.plan, "\(document.diagnostics)")
    }

    @Test func theOneUnderDatabaseComesFirstAndTheOthersInTheirOrder() throws {
        let plan = try plan(
            """
            databases:
              visits: {url: env:VISITS_URL, migrations: v, fence: owner, accepts: [definitions]}
              audit: {url: env:AUDIT_URL, migrate_with: {run: m, ledger: django, revert_with: b}}
            database: {url: env:URL, migrations: m}
            """)
        #expect(plan.databases.map(\.name.rawValue) == ["default", "visits", "audit"])
        #expect(plan.database?.url.description == "env:URL")
        #expect(plan.databases[1].fence == .owner)
        #expect(plan.databases[1].accepted == [.definitions])
        #expect(plan.databases[1].lockTimeout == .milliseconds(200))
        #expect(plan.toolDatabases.map(\.name.rawValue) == ["audit"])
        #expect(plan.toolDatabases.first?.tool?.action.rawValue == "m")
        #expect(plan.database(labeled: DatabaseName(unchecked: "audit")) == plan.databases[2])
    }

    /// What is stored and said of a plan with one database is what it always was.
    @Test(arguments: [
        "database: {url: env:URL, migrations: m}",
        "databases: {visits: {url: env:URL, migrations: m}}",
    ])
    func theOnlyDatabaseHasNoLabel(text: String) throws {
        let plan = try plan(text)
        let only = try #require(plan.databases.first)
        #expect(plan.label(of: only) == nil)
        #expect(plan.database(labeled: nil) == only)
    }

    /// Each runs in its own database, by the same action where the tool is the same.
    @Test func everyDatabaseMayHaveAToolOfItsOwn() throws {
        let plan = try plan(
            """
            databases:
              shop.example: {url: env:SHOP_URL, migrate_with: {run: m, ledger: frappe, on_partly: again}}
              blog.example: {url: env:BLOG_URL, migrate_with: {run: m, ledger: frappe, on_partly: again}}
            """)
        #expect(plan.toolDatabases.map(\.name.rawValue) == ["shop.example", "blog.example"])
    }

    private static let sites = "leave_out_with: {close: c, open: o}"

    @Test func soManyMayBeLeftOutWhereEachSaysHowItsSiteIsClosed() throws {
        let text = """
            databases:
              shop: {url: env:SHOP_URL, migrations: m, \(Self.sites)}
              blog: {url: env:BLOG_URL, migrations: m, \(Self.sites)}
            """
        let plan = try plan(text + "\nfailed_databases_at_most: 1")
        #expect(plan.failedDatabasesAtMost == 1)
        #expect(plan.databases.map(\.leaveOut?.close.rawValue) == ["c", "c"])
        #expect(plan.databases[1].leaveOut?.open.rawValue == "o")
        #expect(try self.plan(text).failedDatabasesAtMost == 0)
    }

    /// The same plan, cut down to the database that was left out.
    @Test func aPlanWithOneDatabaseLeavesNoneOutAndMayTakeItIn() throws {
        let text = minimal(
            more: """
                databases: {shop: {url: env:SHOP_URL, migrations: m, \(Self.sites)}}
                failed_databases_at_most: 1
                """)
        #expect(findings(text) == ["6:1 no-effect"])
        let plan = try #require(PlanDocument.parse(text: text, file: "p").plan)
        #expect(plan.failedDatabasesAtMost == 0)
        #expect(plan.databases[0].leaveOut != nil)
    }

    @Test func everyDirectoryIsNamedAlsoWhereTheDocumentHasErrors() {
        let text = minimal(
            rollout: "canary: 0",
            more: """
                database: {url: env:URL, migrations: m}
                databases: {visits: {url: env:VISITS_URL, migrations: v}}
                """)
        let named = PlanDocument.parse(text: text, file: "p").named
        #expect(named.databases.map(\.migrations) == ["m", "v"])
        #expect(named.databases.map(\.name.rawValue) == ["default", "visits"])
    }

    @Test func databasesWithoutANameAreNoDatabase() {
        #expect(findings(minimal(more: "databases: {}")) == ["5:1 missing"])
    }

    @Test func readsAreHeldForTheMigrationOfNamedDatabases() {
        let text = minimal(
            more: """
                databases: {visits: {url: env:URL, migrations: m}}
                reads: {while_migrating: hold}
                deadlines: {migrate: 5m}
                """)
        #expect(findings(text) == [])
    }
}
