// SPDX-License-Identifier: Apache-2.0

import PostgresClient
public import UpgradeModel

/// What a look at the standby has found that is taken beside everything else.
struct StandbyWatch: Sendable {
    /// Beside the session of the tasks.
    var connection: PostgresConnection?
    /// Whether the last look has not come back. One that hangs is not waited for.
    var isLooking = false
    var asked = ContinuousClock.now
    var answered = ContinuousClock.now
    /// What it was when it last answered; `nil`: nothing yet.
    var look: StandbyLook?
    /// Why it does not answer, for people.
    var reason = "no answer"
    var turn = 0
}

/// Looking after a standby that is frozen, whatever is at work meanwhile.
extension SchemaUpgrade {
    /// How long it may be silent until that is said.
    private static let patienceWithSilence = Duration.seconds(2)

    /// What is to be seen of the standby that is frozen for a run at this moment; `nil` where it is not, or nobody could look.
    ///
    /// Asked beside a task, over sessions of its own that stay open until ``endWatch()``. What a migration costs and who has let the
    /// standby go while its files are applied, the task itself finds first.
    public func sight(of run: RunIdentifier) async -> StandbySight? {
        // While it is promoted, the primary gets empty.
        guard let access = configuration.standby, !isAtStandby,
            current?.kind != .promoteStandby, current?.kind != .promoteBehindFence,
            let row = await rowBeside(of: run), row.state == "frozen"
        else { return nil }
        if current?.kind != .migrate, let trouble = await trouble(row, access) {
            return .trouble(trouble)
        }
        let now = ContinuousClock.now
        // Whoever was not asked for so long knows nothing of the time between.
        if standbyWatch.asked.duration(to: now) >= SchemaUpgrade.patienceWithSilence {
            standbyWatch.answered = now
            standbyWatch.look = nil
        }
        standbyWatch.asked = now
        beginLook()
        if standbyWatch.answered.duration(to: now) >= SchemaUpgrade.patienceWithSilence {
            return .silent(
                "the standby has not answered for \(Span(SchemaUpgrade.patienceWithSilence)) while the old release reads there: \(standbyWatch.reason)"
            )
        }
        guard let look = standbyWatch.look else { return nil }
        return thawed(row, look).map { StandbySight.thawed($0.message) } ?? .frozen
    }

    private func rowBeside(of run: RunIdentifier) async -> FrozenRow? {
        do {
            guard let row = try await frozenRow(openedWatcher()) else { return nil }
            return row.run == run.rawValue ? row : nil
        } catch {
            await endWatch()
            return nil
        }
    }

    private func trouble(
        _ row: FrozenRow, _ access: Configuration.StandbyAccess
    ) async -> DatabaseFailure? {
        standbyWatch.turn += 1
        if let failure = await spent(row.slot, access.budget) { return failure }
        return standbyWatch.turn.isMultiple(of: 2) ? await managerTrouble() : nil
    }

    private func beginLook() {
        guard !standbyWatch.isLooking else { return }
        standbyWatch.isLooking = true
        Task { await takeLook() }
    }

    private func takeLook() async {
        defer { standbyWatch.isLooking = false }
        do {
            let row = try await openedStandbyWatcher().query(StandbyLook.query)[0]
            standbyWatch.look = StandbyLook(row)
            standbyWatch.answered = .now
        } catch {
            standbyWatch.reason = "\(error)"
            await endWatchOfStandby()
        }
    }

    private func openedStandbyWatcher() async throws -> PostgresConnection {
        if let known = standbyWatch.connection { return known }
        let opened = try await PostgresConnection.connect(
            ConnectionOptions(
                address: standbyAccess().address, applicationName: SchemaUpgrade.name,
                connectTimeoutSeconds: 3))
        do {
            try await prepareStandby(opened)
        } catch {
            await opened.close()
            throw error
        }
        standbyWatch.connection = opened
        return opened
    }

    func endWatchOfStandby() async {
        let ending = standbyWatch.connection
        standbyWatch.connection = nil
        await ending?.close()
    }
}
