// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
public import RunStore
import Synchronization
public import UpgradeModel

extension SQLiteRunStore: Registry {
    public func addTokens(_ tokens: [NewToken], at now: Instant) async throws(StoreFailure) {
        defer { ownRegistryChanges.withLock { $0 += 1 } }
        try await perform { db in
            try self.transaction(db) {
                for token in tokens { try add(token, at: now, in: db) }
            }
        }
    }

    /// SQLite counts what other connections have committed, and this store what it has: both only rise.
    public func changes() async throws(StoreFailure) -> Int64 {
        let own = ownRegistryChanges.withLock { $0 }
        return try await perform { db in try Int64.fetchOne(db, sql: "PRAGMA data_version") ?? 0 }
            + own
    }

    public func identities() async throws(StoreFailure) -> [Digest: Identity] {
        let path = path
        return try await perform { db in
            var identities: [Digest: Identity] = [:]
            let rows = try Row.fetchCursor(db, sql: "SELECT hash, kind, name FROM token")
            while let row = try rows.next() {
                guard let hash = Digest(row["hash"]),
                    let identity = Identity(kind: row["kind"], name: row["name"])
                else { throw StoreFailure.damaged(path, "a token has an impossible owner or hash") }
                identities[hash] = identity
            }
            return identities
        }
    }

    @discardableResult
    public func revokeTokens(of identity: Identity) async throws(StoreFailure) -> Bool {
        defer { ownRegistryChanges.withLock { $0 += 1 } }
        return try await perform { db in
            let before = db.totalChangesCount
            try self.transaction(db) {
                try db.execute(
                    sql: "DELETE FROM token WHERE kind = ? AND name = ?",
                    arguments: [identity.kind, identity.name])
                if case .node(let name) = identity {
                    try db.execute(
                        sql: "DELETE FROM node WHERE name = ?", arguments: [name.rawValue])
                }
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

private func add(_ token: NewToken, at now: Instant, in db: Database) throws {
    let identity = token.identity
    if token.replaces {
        try db.cachedStatement(sql: "DELETE FROM token WHERE kind = ? AND name = ?")
            .execute(arguments: [identity.kind, identity.name])
    }
    try db.cachedStatement(
        sql: "INSERT OR REPLACE INTO token (hash, kind, name, created_at) VALUES (?, ?, ?, ?)"
    ).execute(
        arguments: [token.hash.hexadecimal, identity.kind, identity.name, now.milliseconds])
    guard case .node(let name) = identity else { return }
    let text = try String(decoding: sortedEncoder().encode(token.labels), as: UTF8.self)
    try db.cachedStatement(
        sql: """
            INSERT INTO node (name, labels) VALUES (?, ?) ON CONFLICT (name)
            DO UPDATE SET labels = CASE WHEN excluded.labels = '{}' THEN labels ELSE excluded.labels END
            """
    ).execute(arguments: [name.rawValue, text])
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
