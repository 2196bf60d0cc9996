// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// What makes preflight refuse, and the statement that has to be in its advice.
struct Obstacle: Sendable, CustomTestStringConvertible {
    var code: String
    var setUp: String
    var advice: String
    /// The role to be connected as meanwhile.
    var session: String? = nil
    var tearDown: String? = nil
    var testDescription: String { "\(code): \(advice)" }
}

let obstacles = [
    Obstacle(
        code: "superuser-session", setUp: "CREATE ROLE root_$db LOGIN SUPERUSER",
        advice: "ALTER ROLE root_$db NOSUPERUSER",
        session: "root_$db"),
    Obstacle(
        code: "superuser-session", setUp: "SELECT 1", advice: "a role that nobody else uses",
        session: "$migrator"),
    Obstacle(
        code: "superuser-member", setUp: "CREATE ROLE root_$db SUPERUSER; GRANT root_$db TO $app",
        advice: "REVOKE root_$db FROM $app"),
    Obstacle(
        code: "createrole", setUp: "ALTER ROLE $app CREATEROLE",
        advice: "ALTER ROLE $app NOCREATEROLE"),
    Obstacle(
        code: "createrole", setUp: "CREATE ROLE group_$db CREATEROLE; GRANT group_$db TO $app",
        advice: "ALTER ROLE group_$db NOCREATEROLE"),
    Obstacle(
        code: "server-programs", setUp: "GRANT pg_execute_server_program TO $app",
        advice: "REVOKE pg_execute_server_program FROM $app"),
    Obstacle(
        code: "prepared-transactions",
        setUp:
            "BEGIN; INSERT INTO entry (name) VALUES ('prepared'); PREPARE TRANSACTION 'left_$db'",
        advice: "ROLLBACK PREPARED 'left_$db'", tearDown: "ROLLBACK PREPARED 'left_$db'"),
    Obstacle(
        code: "track-activities", setUp: "ALTER ROLE $app SET track_activities = off",
        advice: "ALTER ROLE $app RESET track_activities"),
    Obstacle(
        code: "subscription",
        setUp:
            "CREATE SUBSCRIPTION sub_$db CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE); "
            + "UPDATE pg_subscription SET subenabled = true, subslotname = NULL WHERE subname = 'sub_$db'",
        advice: "ALTER SUBSCRIPTION sub_$db DISABLE",
        tearDown: "UPDATE pg_subscription SET subenabled = false"),
    Obstacle(
        code: "schema-taken", setUp: "CREATE SCHEMA sluice AUTHORIZATION $app",
        advice: "rename that schema"),
    Obstacle(
        code: "migrator-rights", setUp: "ALTER ROLE $migrator NOSUPERUSER",
        advice: "ALTER ROLE $migrator SUPERUSER"),
]

@Test(arguments: obstacles)
func preflightRefusesWhatTheFenceCannotCoverAndSaysTheCure(obstacle: Obstacle) async throws {
    let site = try await Site.make()
    _ = try await site.upgrade().done(.preflight)
    for statement in obstacle.setUp.split(separator: "; ") {
        try await site.asSuperuser(String(statement))
    }
    var session: PostgresConnection?
    if let role = obstacle.session { session = try await site.connect(as: role) }
    let failure = try await site.upgrade().failure(.preflight)
    #expect(failure.code == "preflight")
    #expect(failure.effect == .none)
    let finding = failure.findings.first { $0.code == obstacle.code && $0.severity == .error }
    #expect(finding?.advice?.contains(site.named(obstacle.advice)) == true, "\(failure.findings)")
    await session?.close()
    if let tearDown = obstacle.tearDown { try await site.asSuperuser(tearDown) }
}

@Test func preflightChangesNothing() async throws {
    let site = try await Site.make()
    let before = try (await site.catalog(), site.schemaDump())
    try await site.upgrade(try .guestbook()).done(.preflight)
    #expect(try await site.catalog() == before.0)
    #expect(try site.schemaDump() == before.1)
    #expect(try await site.asSuperuser("SELECT FROM pg_namespace WHERE nspname = 'sluice'").isEmpty)
}

@Test func preflightWarnsOfWhatTheRunWillMeet() async throws {
    let site = try await Site.make(
        """
        ;CREATE FUNCTION act() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
        CREATE FUNCTION look() RETURNS integer LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT 1';
        CREATE TABLE mine (n int); ALTER TABLE mine OWNER TO $app;
        """)
    let reader = try await site.connect(as: "$app")
    try await reader.execute("BEGIN; SELECT 1")
    try await Task.sleep(for: .milliseconds(350))
    let set = try MigrationSet.read([.init(name: "0001_x.up.sql", text: "SELECT 1")])
    let report = try await site.upgrade(set).done(.preflight)
    // Roles of other tests on the same server may be able to create roles.
    #expect(
        report.warnings.map(\.code).filter { $0 != "createrole" }.sorted() == [
            "application-owns", "definer-function", "definer-function", "long-transaction",
            "no-down-migration",
        ])
}
