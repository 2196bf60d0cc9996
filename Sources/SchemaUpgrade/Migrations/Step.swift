// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// One script to run, and what it means for the ledger.
enum Step: Sendable {
    case apply(Migration, Script)
    case undo(Migration, Script)

    var migration: Migration {
        switch self {
        case .apply(let migration, _), .undo(let migration, _): migration
        }
    }

    var script: Script {
        switch self {
        case .apply(_, let script), .undo(_, let script): script
        }
    }

    var isUndo: Bool {
        if case .undo = self { true } else { false }
    }

    /// Where to point when no statement is to blame.
    var lastPosition: Diagnostic.Position {
        script.statements.last?.position ?? .init(file: script.file, line: 1, column: 1)
    }
}

/// A statement of a migration failed, at a position of its file.
struct StatementFailure: Error {
    var position: Diagnostic.Position
    var error: PostgresError
    /// For what is no error of the server: its word, and what leads out.
    var own: Word?

    struct Word {
        var code: String
        var advice: String
    }

    init(position: Diagnostic.Position, error: PostgresError, own: Word? = nil) {
        self.position = position
        self.error = error
        self.own = own
    }

    var databaseFailure: DatabaseFailure {
        let reason: String =
            if case .server(let server) = error { server.description } else { error.description }
        return DatabaseFailure(
            code: code,
            "\(position.file):\(position.line):\(position.column): \(reason)", advice: advice,
            findings: [Diagnostic(.error, code: code, at: position, reason, advice: advice)])
    }

    private var code: String {
        if let own { return own.code }
        if error.isLockTimeout { return "lock-timeout" }
        return error.sqlState == "57014" ? "statement-timeout" : "sql"
    }

    private var advice: String {
        if let own { return own.advice }
        if error.isLockTimeout {
            return "look for long transactions in pg_stat_activity"
        }
        switch error.sqlState {
        case "57014":
            return "make the statement faster, or raise database.statement_timeout"
        case "55P04":
            return
                "add the value in a file with -- sluice: expand, whose transaction ends before"
        case "53200":
            return
                "let fewer objects be touched in one transaction, or raise max_locks_per_transaction"
        case "2D000":
            return
                "let the file begin with -- sluice: expand transaction=none, so that the block may end transactions"
        case "42501":
            return
                "migrations run as the owner of the application's tables (database.owner): give it that right"
        case "42P07", "42710":
            return
                "something else has that name: rename it or drop it, or mend the file"
        default: return "put right what it fails on, or mend the file"
        }
    }
}

extension Statement {
    /// Where in the file the server's finger points, or where the statement begins.
    func position(of error: PostgresError) -> Diagnostic.Position {
        guard case .server(let server) = error, let character = server.position else {
            return position
        }
        return position(ofCharacter: character)
    }
}
