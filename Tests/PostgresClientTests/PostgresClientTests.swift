// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import Testing

private func connect(_ database: String? = nil) async throws -> PostgresConnection {
    let cluster = try PostgresCluster.shared.get()
    return try await .connect(
        ConnectionOptions(address: cluster.address(database ?? "postgres"), applicationName: "test")
    )
}

@Test func parametersAndNullsComeBackAsTheyWere() async throws {
    let connection = try await connect()
    let rows = try await connection.query(
        "SELECT $1::text AS a, $2::text AS b, $3::int + 1", ["it's", nil, "41"])
    #expect(rows.count == 1)
    #expect(rows[0]["a"] == "it's")
    #expect(rows[0]["b"] == nil)
    #expect(rows[0].integer(2) == 42)
}

@Test func aServerErrorKeepsItsFieldsAndTheSession() async throws {
    let connection = try await connect()
    let error = await #expect(throws: PostgresError.self) {
        try await connection.query("SELECT nope")
    }
    guard case .server(let reason) = error else {
        Issue.record("not the server's error: \(String(describing: error))")
        return
    }
    #expect(reason.sqlState == "42703")
    #expect(reason.severity == "ERROR")
    #expect(reason.position == 8)
    #expect(try await connection.query("SELECT 1").count == 1)
}

@Test func aTransactionThatThrowsLeavesNothing() async throws {
    let cluster = try PostgresCluster.shared.get()
    let connection = try await connect(try cluster.makeDatabase())
    try await connection.execute("CREATE TABLE t (n int)")
    struct Stop: Error {}
    await #expect(throws: Stop.self) {
        try await connection.transaction { session in
            try session.query("INSERT INTO t VALUES (1)")
            throw Stop()
        }
    }
    #expect(try await connection.query("SELECT * FROM t").isEmpty)
    try await connection.transaction { session in try session.query("INSERT INTO t VALUES (2)") }
    #expect(try await connection.query("SELECT n FROM t")[0][0] == "2")
}

@Test func aSwallowedErrorIsNotMistakenForACommit() async throws {
    let connection = try await connect()
    await #expect(throws: PostgresError.self) {
        try await connection.transaction { session in _ = try? session.query("SELECT nope") }
    }
    #expect(try await connection.query("SELECT 1").count == 1)
}

@Test func aStatementCanBeCancelledFromOutside() async throws {
    let connection = try await connect()
    async let outcome: PostgresError? = {
        do {
            try await connection.query("SELECT pg_sleep(60)")
            return nil
        } catch { return error as? PostgresError }
    }()
    let watcher = try await connect()
    try await poll {
        try await watcher.query(
            "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
        ).count == 1
    }
    await connection.cancel()
    #expect(await outcome?.sqlState == "57014")
    #expect(try await connection.query("SELECT 1").count == 1)
}

@Test func anEndedSessionIsItsOwnError() async throws {
    let connection = try await connect()
    let error = await #expect(throws: PostgresError.self) {
        try await connection.query("SELECT pg_terminate_backend(pg_backend_pid())")
    }
    #expect(error?.isConnectionLost == true)
    let next = await #expect(throws: PostgresError.self) { try await connection.query("SELECT 1") }
    #expect(next?.isConnectionLost == true)
}

@Test func noPasswordIsEverShown() async throws {
    let addresses = [
        "postgresql://user:hunter2%zz@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 user=x password=hunter2",
        "postgresql://user:hunter2@127.0.0.1:1/db?nonsense=1", "hunter2 hunter2",
    ]
    for address in addresses {
        let error = await #expect(throws: PostgresError.self) {
            try await PostgresConnection.connect(
                ConnectionOptions(address: address, applicationName: "test"))
        }
        #expect(error?.description.contains("hunter2") == false)
    }
}

/// libpq takes `/ @ ? #` and `%` in a password for something else, goes on with what is left of it as a host or a port, and
/// names that in its message.
@Test func everyOddPasswordIsRefusedWithTheWayToWriteItOrWorks() async throws {
    let cluster = try PostgresCluster.shared.get()
    let alphabet =
        (0x21...0x7E).map { Character(UnicodeScalar(UInt8($0))) } + ["ü", "€", " ", "\t"]
    for odd in alphabet {
        // At the beginning, in the middle, at the end, and twice.
        for password in [
            "\(odd)Zwoerd9", "kp7\(odd)Zwoerd9", "kp7Zwoerd9\(odd)", "kp7\(odd)VBx\(odd)Zwoerd9",
        ] {
            // Nobody listens at port 1, so a readable address fails in libpq's own words.
            for place in ["127.0.0.1:1/postgres", "localhost:1/postgres?connect_timeout=2"] {
                let error = await #expect(throws: PostgresError.self, "\(password)") {
                    try await PostgresConnection.connect(
                        ConnectionOptions(
                            address: "postgresql://postgres:\(password)@\(place)",
                            applicationName: "test"))
                }
                let text = error?.description ?? ""
                for part in ["kp7", "VBx", "Zwoerd9"] {
                    #expect(!text.contains(part), "\(password): \(text)")
                }
                if case .addressUnreadable = error {
                    #expect(text.contains("percent-encoded") || text.contains("as %2F"), "\(text)")
                }
            }
        }
        // As the advice says it, it works.
        let encoded = "kp7\(odd)Zwoerd9".utf8.map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            return "%" + (digits.count < 2 ? "0" : "") + digits
        }.joined()
        let connection = try await PostgresConnection.connect(
            ConnectionOptions(
                address: "postgresql://postgres:\(encoded)@127.0.0.1:\(cluster.port)/postgres",
                applicationName: "test"))
        await connection.close()
    }
}

@Test func whatTheClientCannotDoIsRefusedAndTheSessionLives() async throws {
    let connection = try await connect()
    for sql in ["COPY (SELECT 1) TO STDOUT", "COPY pg_class FROM STDIN", "SELECT '\0'"] {
        await #expect(throws: PostgresError.self) { try await connection.execute(sql) }
    }
    #expect(try await connection.query("SELECT 1").count == 1)
}

@Test func aClosedConnectionSaysSo() async throws {
    let connection = try await connect()
    await connection.close()
    await #expect(throws: PostgresError.misuse("the connection is closed")) {
        try await connection.query("SELECT 1")
    }
}

/// Asks again until it is so, for ten seconds at most.
private func poll(_ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(10))
    while try await !condition() {
        try #require(ContinuousClock.now < deadline, "it never came to be so")
        try await Task.sleep(for: .milliseconds(5))
    }
}
