// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// How the statements of migrations are run on a session.
struct MigrationEnvironment: Sendable {
    var task: DatabaseTask
    var surroundings: Surroundings
    /// How long Sluice's own statements in the transaction wait for a lock.
    var lockTimeout: Span

    /// Runs the steps and writes the ledger, inside the caller's transaction.
    ///
    /// While a fence is up, the migrations see all rights as they will be after the lift, and what they change or create is
    /// closed again before the commit; nobody else ever sees the rights open. The migrator passes every fence, so it keeps out
    /// of another run's write window itself.
    ///
    /// - Parameter needsCensus: fail as `fence-down` unless a census has proved that nobody writes.
    func run(_ steps: [Step], _ session: borrowing Session, needsCensus: Bool) throws -> [String] {
        let fence = try session.execute(
            "SET LOCAL lock_timeout = '\(lockTimeout.milliseconds)ms'; " + claim(task)
                + "SELECT state, census_transaction FROM sluice.keep_out(\(quotedLiteral(task.run.rawValue)))"
        ).first
        let isFenced = fence?[0] != nil
        guard !needsCensus || (fence?[0] == "up" && fence?[1] != nil) else {
            throw DatabaseFailure(
                code: "fence-down",
                "the fence is not up, or no census has proved that nobody writes",
                advice: "raise the fence and take the census first")
        }
        if isFenced { try session.query("SELECT sluice.open_rights()") }
        let newObjects = try NewObjects(session)
        var lines: [String] = []
        for step in steps {
            let clock = ContinuousClock()
            let began = clock.now
            try session.execute(surroundings.entrance(isLocal: true))
            var heard = Heard(step)
            for statement in step.script.statements {
                try refuseAnother(statement, of: step, session)
                heard.add(try run(statement, session), to: statement)
            }
            try leave(session, step)
            lines.append(
                try record(step, Span(began.duration(to: clock.now)).milliseconds, session))
            lines += heard.lines
        }
        lines += try look(at: newObjects, steps, session)
        if isFenced { try close(session) }
        return lines
    }

    /// What nobody may use is a reason to stop, but not on the way back.
    private func look(at newObjects: NewObjects, _ steps: [Step], _ session: borrowing Session)
        throws -> [String]
    {
        let privates = steps.reduce(into: Set<String>()) {
            $0.formUnion($1.migration.header.privateRelations)
        }
        do {
            return try newObjects.check(session, except: privates)
        } catch let failure as DatabaseFailure where steps.contains(where: \.isUndo) {
            return ["\(failure.message); \(failure.advice ?? "")"]
        }
    }

    private func close(_ session: borrowing Session) throws {
        let left = try session.execute(
            """
            SELECT sluice.close_rights(); SELECT sluice.fence_tables(\(SchemaUpgrade.tablesAtOnce));
            SELECT oid::regclass::text FROM sluice.unfenced_table
            """)
        if let table = left.first {
            throw DatabaseFailure(
                code: "fence-down", "table \(table.text(0)) could not be fenced")
        }
    }

    /// Writes or removes the ledger's row.
    func record(_ step: Step, _ milliseconds: Int64, _ session: borrowing Session) throws -> String
    {
        let migration = step.migration
        switch step {
        case .apply:
            try session.query(
                """
                INSERT INTO sluice.migration (version, name, digest, phase, epoch, run, milliseconds)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                """,
                [
                    migration.version, migration.name, migration.digest.hexadecimal,
                    migration.phase.rawValue,
                    "\(task.epoch.rawValue)", task.run.rawValue, "\(milliseconds)",
                ])
            return "applied \(migration.title) (\(milliseconds) ms)"
        case .undo:
            try session.query(
                "DELETE FROM sluice.migration WHERE version = $1", [migration.version])
            return "undid \(migration.title) (\(milliseconds) ms)"
        }
    }

    /// Runs a statement where ``Surroundings/entrance(isLocal:waitsQuietly:)`` has been.
    ///
    /// - Parameter span: how long it may take, when that is less than what the plan allows.
    /// - Returns: what the server said beside its answer.
    @discardableResult
    func run(
        _ statement: Statement, _ session: borrowing Session, within span: Span? = nil
    ) throws -> ServerNotices {
        var notices = ServerNotices()
        do {
            if let span {
                try session.execute("SET LOCAL statement_timeout = '\(span.milliseconds)ms'")
            }
            try session.execute(statement.text, hearing: &notices)
            if statement.changesRole { try keepRole(session) }
            return notices
        } catch {
            throw StatementFailure(position: statement.position(of: error), error: error)
        }
    }

    /// Fails where `IF NOT EXISTS` would pass a statement over because of something else. On the way back what is there may stay.
    func refuseAnother(_ statement: Statement, of step: Step, _ session: borrowing Session) throws {
        guard !step.isUndo, statement.existing != nil else { return }
        do {
            try ExistingObjectCheck(statement: statement, surroundings: surroundings)
                .refuseAnother(session)
        } catch let error as PostgresError {
            throw StatementFailure(position: statement.position(of: error), error: error)
        }
    }

    /// `RESET ROLE` leads back to the owner, as it would in a session of the owner, and to no superuser.
    private func keepRole(_ session: borrowing Session) throws(PostgresError) {
        guard let owner = surroundings.owner else { return }
        let row = try session.execute(
            """
            SELECT pg_catalog.current_setting('is_superuser'),
                current_user OPERATOR(pg_catalog.=) session_user
            """)[0]
        if row.isTrue(1) { try session.execute("SET LOCAL ROLE \(quotedIdentifier(owner))") }
        guard row.text(0) == "on", !row.isTrue(1) else { return }
        throw .misuse(
            "the statement makes a superuser of the migration, which runs as \(owner)")
    }

    /// Ends a file as its own commit would: deferred constraints speak now, while the file to blame is known, and nothing of
    /// what it has set is left for the next.
    func leave(_ session: borrowing Session, _ step: Step) throws {
        // How a file wants to be committed holds for the commit of the last.
        let commit: String
        do {
            commit = try session.execute(
                "SET LOCAL client_encoding = 'UTF8'; SELECT pg_catalog.current_setting('synchronous_commit')"
            )[0].text(0)
            if let check = DeferrableConstraints(try session.query(DeferrableConstraints.question))
                .check
            {
                try session.execute(check)
            }
        } catch {
            throw StatementFailure(position: step.lastPosition, error: error)
        }
        // As the migrator, in whose eyes no schema is closed.
        try session.execute(
            Surroundings.exit + SchemaUpgrade.rename(task) + ";\n" + SchemaUpgrade.settings
                + "SET LOCAL lock_timeout = '\(lockTimeout.milliseconds)ms'; SET LOCAL synchronous_commit = \(commit)"
        )
        let constraints = DeferrableConstraints(try session.query(DeferrableConstraints.question))
        if let check = constraints.check {
            try session.execute(check + ";" + constraints.restore)
        }
        try session.execute(SchemaUpgrade.ownLocksAlone(task))
    }
}

extension Statement {
    /// `SET ROLE` and `RESET ROLE` as a statement of its own.
    fileprivate var changesRole: Bool {
        let words = text.prefix(60).split(whereSeparator: \.isWhitespace).map { $0.lowercased() }
        guard ["set", "reset"].contains(words.first ?? "") else { return false }
        return words.contains { ["role", "none", "all"].contains($0) || $0.hasPrefix("role=") }
    }
}
