// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Files
import Glibc
import RunStore
import SQLiteRunStore

/// Where everything is kept.
struct DataOption: ParsableArguments {
    static let defaultDirectory = "/var/lib/sluice"

    @Option(
        name: .customLong("data"),
        help: ArgumentHelp(
            "Where everything is kept. (default: \(DataOption.defaultDirectory))",
            valueName: "directory"))
    var given: String?

    var directory: String { given ?? DataOption.defaultDirectory }
}

extension DataOption {
    /// Refuses files with secrets that others may read: the journal with its hashes and plans, and the key of TLS.
    func requireSecrecy(_ key: String?) throws {
        var paths = key.map { [$0] } ?? []
        var status = stat()
        // In a directory that is its user's alone, nobody else comes to the file.
        if stat(directory, &status) == 0, status.st_mode & 0o077 != 0 {
            let journal = "\(directory)/sluice.db"
            if access(journal, F_OK) == 0 { paths.append(journal) }
        }
        for path in paths {
            let problem: String?
            do throws(FileFailure) {
                problem = try secrecyProblem(with: path)
            } catch {
                throw complaint("\(error)", 3)
            }
            if let problem { throw complaint("refused: \(problem)", 3) }
        }
    }

    /// Whether a new store is about to be begun: only where the operator named its directory.
    func begins(_ exists: (String) -> Bool) throws -> Bool {
        if given == nil { try requireStore(exists) }
        return !exists(directory)
    }

    /// A store that the coordinator does not use has tokens that nobody accepts.
    func requireStore(_ exists: (String) -> Bool) throws {
        guard !exists(directory) else { return }
        let advice =
            given == nil
            ? "give the coordinator's own --data here as well, or start `sluice coordinator` first"
            : "look for the coordinator's own --data"
        throw complaint("there is no store in \(directory); \(advice)", 3)
    }

    /// Opens the store beside a running coordinator, and closes it again.
    func withStore<Value>(
        _ work: (SQLiteRunStore) async throws(StoreFailure) -> Value
    ) async throws -> Value {
        // A journal that is begun here is its user's alone, as one that the coordinator begins.
        umask(0o077)
        do throws(StoreFailure) {
            let store = try await SQLiteRunStore(directory: directory, examine: .none)
            let value = try await work(store)
            await store.close()
            return value
        } catch {
            throw complaint("\(error.reason)", 1)
        }
    }
}

/// Says it on standard error, and ends the process with a code.
func complaint(_ message: String, _ code: Int32) -> ExitCode {
    let bytes = Array("sluice: \(message)\n".utf8)
    _ = write(2, bytes, bytes.count)
    return ExitCode(code)
}

/// Says it on standard error; standard output has what was asked for alone.
func remark(_ message: String) { _ = complaint(message, 0) }

extension StoreFailure {
    fileprivate var reason: String {
        switch self {
        case .rejected(let why), .full(let why), .corrupt(let why), .io(let why),
            .notFound(let why):
            why
        default: "\(self)"
        }
    }
}
