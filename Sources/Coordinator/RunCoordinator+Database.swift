// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Logging
import RunStore
import SteadyClock
import UpgradeEngine
import UpgradeModel
import UpgradePlan

extension RunCoordinator {
    /// Starts what the stored runs ask the database for, and ends what they no longer want.
    func serveDatabases(
        of runs: Set<RunIdentifier>, _ group: inout ThrowingDiscardingTaskGroup<any Error>
    ) {
        for identifier in runs.sorted() {
            guard let run = published.run(identifier) else { continue }
            for command in run.databaseCommands { serve(command, of: run, &group) }
            if run.mayTakeLong, watchedForWaits.insert(identifier).inserted {
                group.addTask { await self.watchWaits(of: identifier) }
            }
            if run.watchesStandby, watchedForStandby.insert(identifier).inserted {
                group.addTask { await self.watchStandby(of: identifier) }
            }
            if run.isEnded, slots[identifier]?.values.allSatisfy({ $0.task == nil }) ?? true,
                let held = workers.removeValue(forKey: identifier)
            {
                for worker in held.values.map(\.worker) {
                    group.addTask { await worker.close() }
                }
            }
        }
    }

    private func serve(
        _ command: DatabaseCommand, of run: Run,
        _ group: inout ThrowingDiscardingTaskGroup<any Error>
    ) {
        let identifier = run.identifier
        switch command {
        case .perform(let task):
            let slot = slot(of: task, identifier)
            guard slot.task == nil, slot != .answered(task) else { return }
            set(.performing(task), of: task, identifier)
            group.addTask { await self.perform(task, of: run) }
        case .cancel(let task):
            switch slot(of: task, identifier) {
            case .performing(let begun) where begun == task:
                set(.cancelling(task), of: task, identifier)
                group.addTask { await self.cancel(task, of: identifier) }
            case .idle, .answered:
                // Wanted and no longer wanted within one turn: nobody has begun it, and somebody has to say so.
                if slot(of: task, identifier) == .answered(task) { return }
                answer(
                    task, of: identifier,
                    .failed(DatabaseFailure(code: "cancelled", "it was not begun")))
            case .performing, .cancelling: return
            }
        }
    }

    /// What the worker of a task's database does.
    private func slot(of task: DatabaseTaskFact, _ run: RunIdentifier) -> DatabaseSlot {
        slots[run]?[task.database] ?? .idle
    }

    private func set(_ slot: DatabaseSlot, of task: DatabaseTaskFact, _ run: RunIdentifier) {
        slots[run, default: [:]][task.database] = slot
    }

    private func perform(_ task: DatabaseTaskFact, of run: Run) async {
        let identifier = run.identifier
        log.info(
            "database task begins",
            metadata: [
                "run": "\(identifier)", "task": "\(task.kind.rawValue)",
                "attempt": "\(task.attempt)",
            ].merging(task.metadata) { $1 })
        let outcome: DatabaseOutcome
        do throws(DatabaseFailure) {
            let worker = try await worker(of: run, task.database) {
                slot(of: task, identifier).task == task
            }
            if slot(of: task, identifier) != .performing(task) {
                throw DatabaseFailure(code: "cancelled", "it was not begun")
            }
            // Its budget is reckoned when it begins.
            let whole = (core.run(identifier) ?? run).task(task, epoch: epoch, at: clock.now)
            outcome = await worker.perform(whole)
        } catch {
            outcome = .failed(error)
        }
        guard slot(of: task, identifier).task == task else { return }  // given up on meanwhile
        if case .failed(let failure) = outcome {
            log.error(
                "database task failed: \(failure.message)",
                metadata: ["run": "\(identifier)", "task": "\(task.kind.rawValue)"]
                    .merging(task.metadata) { $1 })
        }
        answer(task, of: identifier, outcome)
    }

    private func full(_ task: DatabaseTaskFact, of run: RunIdentifier) -> DatabaseTask {
        DatabaseTask(kind: task.kind, run: run, epoch: epoch, attempt: task.attempt)
    }

    private func answer(
        _ task: DatabaseTaskFact, of run: RunIdentifier, _ outcome: DatabaseOutcome
    ) {
        set(.answered(task), of: task, run)
        enqueue(.databaseEnded(run, task, outcome))
    }

    /// Asks the worker to end a task until it has ended; gives up on the worker when it does not.
    ///
    /// A session that hangs would otherwise keep the run from going back. The next worker's session ends the old one on the
    /// server before it does anything.
    private func cancel(_ task: DatabaseTaskFact, of run: RunIdentifier) async {
        for _ in 0..<30 where slot(of: task, run) == .cancelling(task) && !Task.isCancelled {
            await workers[run]?[task.database]?.worker.cancel(full(task, of: run))
            try? await Task.sleep(for: ports.cancelInterval)
        }
        guard slot(of: task, run) == .cancelling(task), !Task.isCancelled else { return }
        log.critical(
            "a database task does not end; its session is given up",
            metadata: ["run": "\(run)", "task": "\(task.kind.rawValue)"]
                .merging(task.metadata) { $1 })
        let givenUp = workers[run]?.removeValue(forKey: task.database)?.worker
        answer(
            task, of: run,
            .failed(
                DatabaseFailure(
                    code: "lost", "it did not end when it was told to", effect: .unknown)))
        // Last, because it may take as long as the session hangs.
        await givenUp?.close()
    }

    /// The worker that has read the files that count; one that has read others is let go.
    private func current(
        of run: Run, _ label: DatabaseName?
    ) async throws(DatabaseFailure) -> (any DatabaseWorker)? {
        guard let held = workers[run.identifier]?[label] else { return nil }
        if held.files == run.migrations(of: label) { return held.worker }
        workers[run.identifier]?[label] = nil
        await held.worker.close()
        return nil
    }

    /// - Parameters:
    ///   - label: which of the run's databases; `nil` where it has one.
    ///   - isWanted: whether it is, once it was made.
    func worker(
        of run: Run, _ label: DatabaseName?, isWanted: () -> Bool
    ) async throws(DatabaseFailure) -> any DatabaseWorker {
        if let worker = try await current(of: run, label) { return worker }
        guard let database = run.plan.database(labeled: label) else {
            throw DatabaseFailure(
                code: "no-database", "the plan names no database\(label.map { " \($0)" } ?? "")")
        }
        let files = run.migrations(of: label)
        var migrations: [MigrationFile] = []
        for reference in files {
            migrations.append(try await migration(reference))
        }
        let assignment = DatabaseAssignment(
            run: run.identifier, plan: run.plan, database: database, migrations: migrations)
        let makeWorker = ports.makeWorker
        // It reads the migrations, which takes the processor for long.
        let worker = try await WorkLane.runs.run { () throws(DatabaseFailure) in
            try makeWorker(assignment)
        }
        if let other = workers[run.identifier]?[label]?.worker {
            await worker.close()
            return other
        }
        guard isWanted() else {
            // Its task was given up while it was being made: whichever comes next makes its own.
            await worker.close()
            throw DatabaseFailure(code: "cancelled", "it was not begun")
        }
        workers[run.identifier, default: [:]][label] = HeldWorker(worker: worker, files: files)
        return worker
    }

    func migration(
        _ reference: MigrationReference
    ) async throws(DatabaseFailure) -> MigrationFile {
        do throws(StoreFailure) {
            let bytes = try await ports.blobs.readAll(
                reference.digest, limit: Limits.migrationBytes)
            return MigrationFile(
                name: reference.name, text: String(decoding: bytes, as: UTF8.self),
                database: reference.database)
        } catch {
            throw DatabaseFailure(
                code: "migration-missing",
                "the migration \(reference.name) cannot be read: \(error.text)",
                advice: "apply the plan again: that uploads it")
        }
    }
}

extension DatabaseTaskFact {
    /// Its database for the log; nothing where the plan has one.
    fileprivate var metadata: Logger.Metadata {
        database.map { ["database": "\($0)"] } ?? [:]
    }
}

extension BlobStore {
    /// A whole blob in memory.
    func readAll(_ blob: Digest, limit: Int) async throws(StoreFailure) -> [UInt8] {
        guard let size = try await size(of: blob) else { throw .notFound("blob \(blob)") }
        guard size <= Int64(limit) else {
            throw .rejected("blob \(blob.short) is larger than \(limit) bytes")
        }
        var bytes: [UInt8] = []
        while bytes.count < Int(size) {
            let part = try await read(
                blob, offset: Int64(bytes.count), length: Int(size) - bytes.count)
            if part.isEmpty { throw .io("blob \(blob.short) ends early") }
            bytes += part
        }
        return bytes
    }
}
