// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private func state(_ entries: String..., unfinished: String...) -> ToolLedgerState {
    ToolLedgerState(entries: Set(entries), unfinished: Set(unfinished))
}

@Test
func whereItIsKnownWhatWasToBeDoneOnlyTheLedgerCounts() {
    let before = state("a")
    for endedWell in [true, false] {
        func outcome(_ after: ToolLedgerState) -> ToolOutcome {
            .of(before: before, after: after, expected: ["a", "b", "c"], endedWell: endedWell)
        }
        #expect(outcome(state("a", "b", "c")) == .done)
        #expect(
            outcome(state("b", "c"))
                == .partlyDone(applied: ["b", "c"], missing: ["a"], unfinished: []))
        #expect(outcome(before) == .nothingDone)
        #expect(
            outcome(state("a", "b")) == .partlyDone(applied: ["b"], missing: ["c"], unfinished: []))
        #expect(
            outcome(state("a", "b", unfinished: "c"))
                == .partlyDone(applied: ["b"], missing: ["c"], unfinished: ["c"]))
    }
}

@Test
func whereItIsNotKnownAToolThatWasKilledHasDoneNothingOrAPartNeverAll() {
    let before = state("a")
    #expect(
        ToolOutcome.of(before: before, after: state("b"), expected: nil, endedWell: true) == .done)
    #expect(ToolOutcome.of(before: before, after: before, expected: nil, endedWell: true) == .done)
    #expect(
        ToolOutcome.of(before: before, after: before, expected: nil, endedWell: false)
            == .nothingDone)
    #expect(
        ToolOutcome.of(before: before, after: state("a", "b"), expected: nil, endedWell: false)
            == .partlyDone(applied: ["b"], missing: [], unfinished: []))
    #expect(
        ToolOutcome.of(
            before: before, after: state("a", unfinished: "b"), expected: nil, endedWell: true)
            == .partlyDone(applied: [], missing: [], unfinished: ["b"]))
}

@Test
func aWayBackIsDoneWhenTheLedgerSaysWhatItSaidBefore() {
    let (origin, before) = (state("a"), state("a", "b", "c"))
    #expect(ToolOutcome.ofWayBack(origin: origin, before: before, after: origin) == .done)
    #expect(ToolOutcome.ofWayBack(origin: origin, before: before, after: before) == .nothingDone)
    #expect(
        ToolOutcome.ofWayBack(origin: origin, before: before, after: state("a", "b"))
            == .partlyDone(applied: ["c"], missing: ["b"], unfinished: []))
}

private let ledgers: [(ToolLedger, schema: String, ToolLedgerState)] = [
    (
        ToolLedger(.django),
        "CREATE TABLE django_migrations (id serial, app text, name text); INSERT INTO django_migrations (app, name) VALUES ('auth', '0001_initial')",
        state("auth.0001_initial")
    ),
    (
        ToolLedger(.rails),
        "CREATE TABLE schema_migrations (version text); INSERT INTO schema_migrations VALUES ('20260101'), ('20260102')",
        state("20260101", "20260102")
    ),
    (
        ToolLedger(.alembic, schema: "shop"),
        "CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO $owner; CREATE TABLE shop.alembic_version (version_num text); INSERT INTO shop.alembic_version VALUES ('1975ea83b712'); GRANT SELECT ON shop.alembic_version TO $owner",
        state("1975ea83b712")
    ),
    (
        ToolLedger(.flyway),
        "CREATE TABLE flyway_schema_history (installed_rank serial, version text, script text, success boolean); INSERT INTO flyway_schema_history (version, script, success) VALUES ('1', 'V1', true), (NULL, 'R__view', true), ('2', 'V2', false)",
        state("1", "R__view", unfinished: "2")
    ),
    (
        ToolLedger(.prisma),
        "CREATE TABLE _prisma_migrations (migration_name text, started_at timestamptz, finished_at timestamptz, rolled_back_at timestamptz); INSERT INTO _prisma_migrations VALUES ('1_a', now(), now(), NULL), ('2_b', now(), NULL, NULL), ('3_c', now(), NULL, now())",
        state("1_a", unfinished: "2_b")
    ),
    (
        ToolLedger(.frappe),
        "CREATE TABLE \"tabPatch Log\" (patch text, creation timestamptz); INSERT INTO \"tabPatch Log\" VALUES ('frappe.patches.a', now())",
        state("frappe.patches.a")
    ),
    (
        ToolLedger(.query("SELECT name, ok FROM patches")),
        "CREATE TABLE patches (name text, ok boolean); INSERT INTO patches VALUES ('x', true), ('y', false)",
        state("x", unfinished: "y")
    ),
]

@Test(arguments: ledgers.indices)
func aToolsLedgerIsReadAsTheToolWritesItAndAToolThatHasNeverRunHasNone(index: Int) async throws {
    let (ledger, schema, expected) = ledgers[index]
    let site = try await Site.make()
    let upgrade = site.upgrade { $0.owner = site.owner }
    let task = DatabaseTask(
        kind: .migrate, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1), attempt: 1)
    if case .query = ledger.kind {
        await #expect(throws: DatabaseFailure.self) {
            try await upgrade.look(at: ledger, for: task)
        }
    } else {
        #expect(try await upgrade.look(at: ledger, for: task) == ToolLedgerState(entries: []))
    }
    try await site.asSuperuser(schema + "; GRANT SELECT ON ALL TABLES IN SCHEMA public TO $owner")
    #expect(try await upgrade.look(at: ledger, for: task) == expected)
    await upgrade.close()
}

@Test
func aPlansQueryWritesNothingAndIsNoSuperuserS() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade()
    let task = DatabaseTask(
        kind: .migrate, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1), attempt: 1)
    for query in [
        "DELETE FROM entry RETURNING name, true", "SELECT pg_read_file('PG_VERSION'), true",
        "SELECT nextval('entry_id_seq')::text, true",
    ] {
        await #expect(throws: DatabaseFailure.self, "\(query)") {
            try await upgrade.look(at: ToolLedger(.query(query)), for: task)
        }
    }
    #expect(try await site.asSuperuser("SELECT FROM entry").count == 10)
    await upgrade.close()
}
