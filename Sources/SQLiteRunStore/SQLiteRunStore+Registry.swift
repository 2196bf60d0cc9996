// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
public import RunStore
import Synchronization
public import UpgradeModel

extension SQLiteRunStore: Registry {
    public func addToken(
        hash: Digest, for identity: Identity, labels: [String: String], at now: Instant
    ) async throws(StoreFailure) {
        defer { ownRegistryChanges.withLock { $0 += 1 } }
        try await perform { db in
            try db.inTransaction(.immediate) {
                try db.execute(
                    sql:
                        "INSERT OR REPLACE INTO token (hash, kind, name, created_at) VALUES (?, ?, ?, ?)",
                    arguments: [hash.hexadecimal, identity.kind, identity.name, now.milliseconds])
                guard case .node(let name) = identity else { return .commit }
                let text = try String(decoding: sortedEncoder().encode(labels), as: UTF8.self)
                try db.execute(
                    sql: """
                        INSERT INTO node (name, labels) VALUES (?, ?) ON CONFLICT (name)
                        DO UPDATE SET labels = CASE WHEN excluded.labels = '{}' THEN labels ELSE excluded.labels END
                        """, arguments: [name.rawValue, text])
                return .commit
            }
        }
    }

    /// SQLite counts what other connections have committed, and this store what it has: both only rise.
    public func changes() async throws(StoreFailure) -> Int64 {
        let own = ownRegistryChanges.withLock { $0 }
        return try await perform { db in try Int64.fetchOne(db, sql: "PRAGMA data_version") ?? 0 }
            + own
    }

    public func identity(ofTokenHash hash: Digest) async throws(StoreFailure) -> Identity? {
        try await perform { db in
            let row = try Row.fetchOne(
                db.cachedStatement(sql: "SELECT kind, name FROM token WHERE hash = ?"),
                arguments: [hash.hexadecimal])
            return row.flatMap { Identity(kind: $0["kind"], name: $0["name"]) }
        }
    }

    @discardableResult
    public func revokeTokens(of identity: Identity) async throws(StoreFailure) -> Bool {
        defer { ownRegistryChanges.withLock { $0 += 1 } }
        return try await perform { db in
            let before = db.totalChangesCount
            try db.inTransaction(.immediate) {
                try db.execute(
                    sql: "DELETE FROM token WHERE kind = ? AND name = ?",
                    arguments: [identity.kind, identity.name])
                if case .node(let name) = identity {
                    try db.execute(
                        sql: "DELETE FROM node WHERE name = ?", arguments: [name.rawValue])
                }
                return .commit
            }
            return db.totalChangesCount > before
        }
    }

    public func nodes() async throws(StoreFailure) -> [NodeRecord] {
        let path = path
        return try await perform { db in
            try Row.fetchAll(db, sql: "SELECT name, labels FROM node ORDER BY name").map { row in
                let text: String = row["labels"]
                guard let name = NodeName(rawValue: row["name"]),
                    let labels = try? JSONDecoder().decode(
                        [String: String].self, from: Data(text.utf8))
                else { throw StoreFailure.damaged(path, "a node has an impossible name or labels") }
                return NodeRecord(name: name, labels: labels)
            }
        }
    }
}

private func sortedEncoder() -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return encoder
}

extension Identity {
    fileprivate var kind: String {
        switch self {
        case .node: "node"
        case .operator: "operator"
        }
    }

    fileprivate var name: String {
        switch self {
        case .node(let name): name.rawValue
        case .operator(let name): name.rawValue
        }
    }

    fileprivate init?(kind: String, name: String) {
        switch kind {
        case "node":
            guard let name = NodeName(rawValue: name) else { return nil }
            self = .node(name)
        case "operator":
            guard let name = OperatorName(rawValue: name) else { return nil }
            self = .operator(name)
        default: return nil
        }
    }
}
