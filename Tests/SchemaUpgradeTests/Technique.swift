// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport

/// One way to commit a write while the fence is up.
struct Technique: Sendable {
    /// What the session is doing when the fence goes up.
    enum Session: Sendable {
        /// It connects in the window.
        case fresh
        /// Connected before, outside a transaction; has run these statements.
        case idle([String])
        /// In a transaction that has run these statements.
        case open([String])
        /// In the middle of this statement, at `$pause`.
        case running(String)
    }

    var name: String
    var role: String
    var session: Session
    /// Run one after the other, whatever fails.
    var attack: [String]
    /// Tried after the migration, on what it has created.
    var isAfterMigration = false
    /// Changes who owns and who belongs to whom, which PostgreSQL lets nobody watch over; contents have to stay as they are.
    var isOfWhoNotWhat = false

    init(_ name: String, as role: String, _ session: Session = .fresh, _ attack: String...) {
        self.name = name
        self.role = role
        self.session = session
        self.attack = attack
    }

    /// The advisory lock that a running statement waits for at `$pause`.
    var pauseKey: Int { name.utf8.reduce(7) { ($0 * 31 + Int($1)) % 1_000_003 } }

    var isUnderWay: Bool {
        switch session {
        case .open, .running: true
        case .fresh, .idle: false
        }
    }

    var ofWhoNotWhat: Technique {
        var copy = afterMigration
        copy.isOfWhoNotWhat = true
        return copy
    }

    var afterMigration: Technique {
        var copy = self
        copy.isAfterMigration = true
        return copy
    }
}

/// A session of an attacker, with what it was told to do before the fence.
final class Attacker: Sendable {
    let technique: Technique
    private let connection: PostgresConnection?
    private let running: Task<Void, Never>?

    init(_ technique: Technique, on site: Site) async throws {
        self.technique = technique
        switch technique.session {
        case .fresh:
            connection = nil
            running = nil
        case .idle(let statements):
            let opened = try await site.connect(as: technique.role)
            for statement in statements { try await opened.execute(site.named(statement)) }
            connection = opened
            running = nil
        case .open(let statements):
            let opened = try await site.connect(as: technique.role)
            try await opened.execute("BEGIN")
            for statement in statements { try await opened.execute(site.named(statement)) }
            connection = opened
            running = nil
        case .running(let statement):
            let opened = try await site.connect(as: technique.role)
            let pid = try await opened.query("SELECT pg_backend_pid()")[0].text(0)
            // It waits in its middle for as long as the observer wants, however slow the machine is.
            try await site.observer.query("SELECT pg_advisory_lock(\(technique.pauseKey))")
            // Not only until the timeout for locks that ends a test gone wrong.
            try await opened.execute("SET lock_timeout = 0")
            let text = site.named(statement).replacing(
                "$pause", with: "pg_advisory_xact_lock_shared(\(technique.pauseKey))")
            running = Task { _ = try? await opened.execute(text) }
            connection = opened
            while try await site.observer.query(
                "SELECT FROM pg_stat_activity WHERE pid = $1::int AND wait_event = 'advisory'",
                [pid]
            ).isEmpty {
                try await Task.sleep(for: .milliseconds(2))
            }
        }
    }

    /// - Returns: what PostgreSQL said to each statement.
    func attack(_ site: Site) async throws -> [String] {
        if running != nil {
            try await site.observer.query("SELECT pg_advisory_unlock(\(technique.pauseKey))")
        }
        await running?.value
        if running != nil { _ = try? await connection?.execute("SET lock_timeout = '150ms'") }
        let session: PostgresConnection
        if let connection {
            session = connection
        } else {
            session = try await site.connect(as: technique.role)
        }
        var answers: [String] = []
        for statement in technique.attack {
            do {
                try await session.execute(site.named(statement))
                answers.append("ok")
            } catch {
                answers.append("\(error)")
            }
        }
        if connection == nil { await session.close() }
        return answers
    }

    func close() async { await connection?.close() }
}

extension Site {
    /// Everything that an application could have written: each table and sequence with its content, large objects, and the
    /// catalog.
    func contents() async throws -> [String: String] {
        var contents: [String: String] = [:]
        let tables = try await asSuperuser(
            """
            SELECT oid::regclass::text, coalesce(pg_temp.content(oid, relkind), '')
            FROM pg_class WHERE relkind IN ('r', 'm', 'S') AND relpersistence <> 't' AND relnamespace NOT IN (
                SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'sluice'))
            UNION ALL SELECT 'large objects', md5(coalesce(string_agg(loid || encode(data, 'hex'), ',' ORDER BY loid, pageno), ''))
            FROM pg_largeobject
            """)
        for row in tables { contents[row.text(0)] = row.text(1) }
        let facts = try await observer.query(
            """
            SELECT 'catalog: ' || split_part(fact, ' ', 1), md5(string_agg(fact, ',')) FROM (
            \(Site.catalogQuery(from: 16384))) AS q (fact) GROUP BY 1
            """)
        for row in facts { contents[row.text(0)] = row.text(1) }
        return contents
    }
}
