// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// Each kind of task is cut after each of its requests; it ends, or the next leader ends it, as if nothing had happened.
@Suite struct InterruptedTaskTests {
    enum Interruption: CaseIterable {
        /// The session is lost; the same process goes on.
        case session
        /// The process is gone; another one is asked for the same task.
        case coordinator
    }

    /// All but preflight, which changes nothing, and those of a standby, which have servers of their own (`StandbyTests`).
    static let kinds = DatabaseTask.Kind.allCases.filter {
        $0 != .preflight && !DatabaseTask.Kind.ofStandby.contains($0)
    }

    @Test(arguments: kinds, Interruption.allCases)
    func aTaskThatIsCutAnywhereEndsInTheSameState(
        kind: DatabaseTask.Kind, by interruption: Interruption
    ) async throws {
        try await cutAnywhere(kind, by: interruption, .complete)
    }

    /// The same, of those that touch the fence, by a migrator who is no superuser.
    @Test(arguments: [
        DatabaseTask.Kind.raiseFence, .census, .migrate, .revertMigrate, .lowerFence, .openPass,
        .closePass,
    ])
    func aTaskOfAMemberOfTheOwnersThatIsCutAnywhereEndsInTheSameState(kind: DatabaseTask.Kind)
        async throws
    {
        try await cutAnywhere(kind, by: .coordinator, .owner)
    }

    private func cutAnywhere(
        _ kind: DatabaseTask.Kind, by interruption: Interruption, _ level: FenceLevel
    ) async throws {
        let site = try await Site.make("GRANT pg_write_all_data TO $app", level: level)
        let proxy = try CutProxy(server: site.cluster.port)
        defer { proxy.stop() }
        var epoch: Int64 = 1
        var expected: [String]?
        var cuts = 0
        for answered in 0..<200 {
            epoch += 1
            try await prepare(kind, site, epoch)

            let upgrade = site.upgrade(try .guestbook()) {
                withTool(site, &$0)
                $0.address =
                    "host=127.0.0.1 port=\(proxy.port) user=\(site.migrator) dbname=\(site.database) "
                    + "sslmode=disable gssencmode=disable"
                $0.reconnectTimeout =
                    interruption == .session ? .seconds(15) : .milliseconds(20)
            }
            // The task before it has opened the session, as in a run.
            try await upgrade.done(.preflight, epoch: epoch)
            proxy.cut(
                afterAnswers: expected == nil ? .max : answered - 1,
                thenRefuse: interruption == .coordinator)
            var outcome = await upgrade.perform(task(kind, epoch))
            let isCut = proxy.mend()
            if case .failed(let failure) = outcome {
                #expect(isCut, "\(kind): \(failure)")
                #expect(["connection-lost", "unreachable"].contains(failure.code), "\(failure)")
                if interruption == .session {
                    // What it says of the effect has to be right.
                    if failure.effect == .none, [.migrate, .revertMigrate].contains(kind) {
                        #expect(try await isMigrated(site) == (kind == .revertMigrate))
                    }
                    outcome = await upgrade.perform(task(kind, epoch, attempt: 2))
                }
            }
            await upgrade.close()
            if interruption == .coordinator {
                epoch += 1
                let next = site.upgrade(try .guestbook()) { withTool(site, &$0) }
                outcome = await next.perform(task(kind, epoch, attempt: 2))
                await next.close()
            }
            guard case .done = outcome else {
                Issue.record("\(kind), cut after \(answered - 1) answers: \(outcome)")
                break
            }
            let facts = try await facts(site)
            guard let reference = expected else {
                expected = facts
                continue
            }
            #expect(
                Set(facts).symmetricDifference(reference) == [],
                "\(kind), cut after \(answered - 1) answers")
            if !isCut { break }
            cuts += 1
        }
        print("\(level): \(kind), lost \(interruption): \(cuts) cuts")
        #expect(cuts > 0)
    }

    /// With the digest of a secret, where somebody is to be let through.
    private func task(_ kind: DatabaseTask.Kind, _ epoch: Int64, attempt: Int = 1) -> DatabaseTask {
        DatabaseTask(
            kind: kind, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: epoch),
            attempt: attempt,
            pass: [.openPass, .openRevertPass].contains(kind) ? Secret("a").digest : nil)
    }

    private func withTool(_ site: Site, _ configuration: inout SchemaUpgrade.Configuration) {
        configuration.tool = .init(
            ledger: ToolLedger(.rails), role: site.application, phases: [.expand, .contract])
    }

    /// Brings the database to where a run is when it asks for this task.
    private func prepare(_ kind: DatabaseTask.Kind, _ site: Site, _ epoch: Int64) async throws {
        let before: [DatabaseTask.Kind] =
            switch kind {
            case .preflight, .compareSchema: []
            case .expand: [.revertExpand]
            case .raiseFence: [.lowerFence, .expand]
            case .census: [.lowerFence, .expand, .raiseFence]
            case .leaveOut: [.lowerFence, .expand, .raiseFence, .census]
            case .migrate: [.expand, .raiseFence, .revertMigrate, .census]
            case .lowerFence: [.expand, .raiseFence, .census, .migrate]
            case .contract: [.expand, .raiseFence, .census, .migrate, .lowerFence]
            case .revertMigrate: [.expand, .raiseFence, .census, .migrate]
            case .revertExpand: [.expand]
            case .openPass, .openRevertPass: [.expand, .raiseFence, .census, .settlePass]
            case .closePass, .settlePass, .closeRevertPass:
                [.expand, .raiseFence, .census, .openPass]
            case .readPreview, .judgeExpand, .settleExpand, .judgeRevertExpand: [.expand]
            case .judgeContract: [.expand, .raiseFence, .census, .migrate, .lowerFence, .contract]
            case .freezeStandby, .feedStandby, .promoteBehindFence, .promoteStandby, .pauseManager,
                .resumeManager:
                []
            }
        if kind == .contract {
            // There is no way back from contract but by hand.
            try await site.asSuperuser(
                "DROP INDEX IF EXISTS entry_last; DO $x$ BEGIN DELETE FROM sluice.migration WHERE version = '0003'; "
                    + "EXCEPTION WHEN undefined_table OR invalid_schema_name THEN NULL; END $x$")
        }
        let upgrade = site.upgrade(try .guestbook()) { withTool(site, &$0) }
        for kind in before {
            guard case .done = await upgrade.perform(task(kind, epoch)) else {
                Issue.record("\(kind) before it")
                break
            }
        }
        await upgrade.close()
        if kind == .expand { try await site.asSuperuser("DROP SCHEMA IF EXISTS sluice CASCADE") }
    }

    private func isMigrated(_ site: Site) async throws -> Bool {
        try await site.asSuperuser("SELECT to_regclass('person')")[0][0] != nil
    }

    /// What a task changes, by names: numbers of objects differ each time.
    private func facts(_ site: Site) async throws -> [String] {
        let isInstalled =
            try await site.asSuperuser("SELECT to_regclass('sluice.fence')")[0][0] != nil
        let own = """
            UNION ALL SELECT concat_ws(' ', 'fence', state, run, census_transaction IS NOT NULL) FROM sluice.fence
            UNION ALL SELECT concat_ws(' ', 'stored', kind, count(*), string_agg(before::text, ',' ORDER BY before))
                FROM sluice.stored WHERE kind <> 'members' GROUP BY kind
            UNION ALL SELECT concat_ws(' ', 'applied', version, digest, phase, run) FROM sluice.migration
            """
        return try await site.asSuperuser(
            """
            SELECT concat_ws(' ', 'relation', oid::regclass, relkind, relowner::regrole, relacl::text) FROM pg_class
                WHERE relnamespace IN ('public'::regnamespace, to_regnamespace('sluice'))
                    -- Counters have numbers of tables in their names.
                    AND relname NOT LIKE 'refused\\_%'
            UNION ALL SELECT concat_ws(' ', 'column', attrelid::regclass, attname, attacl::text) FROM pg_attribute
                WHERE NOT attisdropped AND attnum > 0 AND attrelid IN
                (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
            UNION ALL SELECT concat_ws(' ', 'function', oid::regprocedure, proacl::text, md5(prosrc)) FROM pg_proc
                WHERE pronamespace = to_regnamespace('sluice') OR proacl IS NOT NULL
            UNION ALL SELECT concat_ws(' ', 'trigger', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger
            UNION ALL SELECT concat_ws(' ', 'event trigger', evtname, evtenabled) FROM pg_event_trigger
            UNION ALL SELECT concat_ws(' ', 'index', indexrelid::regclass, indisvalid) FROM pg_index
                WHERE indrelid = 'entry'::regclass
            UNION ALL SELECT concat_ws(' ', 'member', roleid::regrole, member::regrole, admin_option)
                FROM pg_auth_members WHERE member = '$app'::regrole
            UNION ALL SELECT concat_ws(' ', 'rows', count(*), md5(string_agg(e::text, ',' ORDER BY id))) FROM entry AS e
            """ + (isInstalled ? "\n" + own : "")
        ).map { $0.text(0) }
    }
}
