// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What would keep the standby from being frozen, from being fed again, or from taking the primary's place.
extension SchemaUpgrade {
    /// Changes nothing, on either server.
    func standbyFindings(_ task: DatabaseTask) async throws -> [Diagnostic] {
        guard let access = configuration.standby else { return [] }
        var findings: [Diagnostic] = []
        if !isComplete {
            findings.append(
                Diagnostic(
                    .error, code: "standby-rights",
                    "the migrator is no superuser; only one may shut the primary, which the way back by promotion needs",
                    advice:
                        "ALTER ROLE \(quotedIdentifier(migrator)) SUPERUSER; or take `standby` out of the plan's `database`"
                ))
        }
        findings += try choices()
        if try await isInstalled(), let row = try await frozenRow(open()),
            row.run != task.run.rawValue || row.state == "shut"
        {
            let held = row.state == "shut" ? StandbyFindings.shut(row) : StandbyFindings.held(row)
            findings.append(
                Diagnostic(.error, code: held.code, held.message, advice: held.advice))
        }
        let look: StandbyLook
        do {
            look = try await lookAtStandby()
        } catch let failure as DatabaseFailure {
            return findings + [
                Diagnostic(.error, code: failure.code, failure.message, advice: failure.advice)
            ]
        }
        let own = try await open().query("SELECT \(FenceStatements.server), current_database()")[0]
        if let stranger = StandbyFindings.stranger(
            look, server: own.text(0), database: own.text(1))
        {
            return findings + [stranger]
        }
        let standby = try await openStandby()
        rollbacksBefore = try await rolledBackOnStandby()
        let isManaged = access.patroni != nil
        findings += try await SchemaUpgrade.ask(
            PreflightQuestion.standby(isManaged: isManaged), standby)
        findings += try await managerFindings(task, look)
        if let slot = look.slot {
            let questions = PreflightQuestion.primary(
                slot: slot, lag: access.lag, budget: access.budget, isManaged: isManaged)
            findings += try await SchemaUpgrade.ask(questions, open())
            findings += try await synchronousFindings(slot)
        } else {
            findings.append(detached(look))
        }
        return findings
    }

    /// An address that leads to whoever is the primary would lead to the standby once that is promoted.
    private func choices() throws -> [Diagnostic] {
        let addresses = [
            ("the database's", configuration.address),
            ("the standby's", try standbyAccess().address),
        ]
        return try addresses.compactMap { whose, address in
            let found = try ConnectionOptions(
                address: address, applicationName: SchemaUpgrade.name
            ).choices()
            guard !found.isEmpty else { return nil }
            return Diagnostic(
                .error, code: "standby-choice",
                "\(whose) address does not say which server it leads to (\(found.joined(separator: ", ")))",
                advice:
                    "give the coordinator the address of the one server: a single host, without target_session_attrs and load_balance_hosts; "
                    + "an application's own address may name several"
            )
        }
    }

    private static func ask(
        _ questions: [PreflightQuestion], _ connection: PostgresConnection
    ) async throws -> [Diagnostic] {
        try await connection.perform { session in
            var findings: [Diagnostic] = []
            for question in questions { findings += try question.ask(session) }
            return findings
        }
    }

    private func detached(_ look: StandbyLook) -> Diagnostic {
        if look.isStarved {
            return Diagnostic(
                .error, code: "standby-detached",
                "the standby is still cut off from its primary, as a run of Sluice has left it",
                advice:
                    "on the standby, take \"hostaddr=255.255.255.255\" from the end of primary_conninfo, and \"exit 1 # sluice: \" from "
                    + "the beginning of restore_command, by ALTER SYSTEM, and SELECT pg_reload_conf()"
            )
        }
        return Diagnostic(
            .error, code: "standby-detached",
            look.isReceiving
                ? "the standby streams without a slot, so the primary would not keep its log for it while it is frozen"
                : "the standby is not connected with its primary",
            advice: look.isReceiving
                ? StandbyFindings.attach
                : "see in the standby's log why; it needs a slot, too: "
                    + StandbyFindings.attach)
    }

    private func synchronousFindings(_ slot: String) async throws -> [Diagnostic] {
        let names: (before: String, isSet: Bool, meanwhile: String)?
        do {
            names = try await synchronousNames(slot)
        } catch let failure as DatabaseFailure {
            return [Diagnostic(.error, code: failure.code, failure.message, advice: failure.advice)]
        }
        guard let names else { return [] }
        let source = try await open().query(
            "SELECT source FROM pg_settings WHERE name = 'synchronous_standby_names'")[0].text(0)
        if source != "configuration file" {
            return [
                Diagnostic(
                    .error, code: "standby-synchronous",
                    "commits wait for the standby, and synchronous_standby_names comes from \(source), so it cannot be changed for the window",
                    advice: "set it by ALTER SYSTEM, and not where the server is started")
            ]
        }
        return [
            Diagnostic(
                .warning, code: "standby-synchronous",
                "commits wait for the standby; while it is frozen, synchronous_standby_names is '\(names.meanwhile)'",
                advice: names.meanwhile.isEmpty
                    ? "for that time no other standby has what the primary has committed" : nil)
        ]
    }
}
