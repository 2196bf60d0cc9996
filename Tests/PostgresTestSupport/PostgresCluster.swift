// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// A private cluster: its own directory, its own socket, a free port on loopback, no fsync.
///
/// A small shell holds the server; when this process ends, the shell's standard input closes, and the shell stops the server
/// and removes the directory. So nothing is left behind even after `kill -9`.
public final class PostgresCluster: Sendable {
    /// The cluster of this test process, started on first use.
    public static let shared: Result<PostgresCluster, any Error> = Result { try PostgresCluster() }

    public let directory: String
    public let port: Int
    /// Where PostgreSQL's programs are, such as `/usr/lib/postgresql/15/bin`.
    public let programs: String
    /// The server's major version, such as 15.
    public let version: Int
    private let databases = Atomic<Int>(0)

    /// The superuser made by initdb.
    public static let superuser = "postgres"

    private let options: String

    /// - Parameter settings: beside the usual ones, which they come before. Those of a server that gets a standby leave
    ///   `synchronous_standby_names` to `ALTER SYSTEM`, which the command line would overrule.
    public init(settings: [String] = PostgresCluster.usual) throws {
        programs = try PostgresCluster.findPrograms()
        version = try PostgresCluster.version(of: programs)
        var template = Array("/tmp/sluice-postgres-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) } != nil
        }
        guard made else { throw SpawnError(description: "no temporary directory") }
        directory = String(
            decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        port = try PostgresCluster.freePort()
        if getuid() == 0 { try run(["chown", "postgres:", directory]) }
        try run(
            PostgresCluster.asServer([
                "\(programs)/initdb", "-D", "\(directory)/data", "-U", PostgresCluster.superuser,
                "-A", "trust",
                "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
            ]))
        let own = [
            "port=\(port)", "listen_addresses=127.0.0.1", "unix_socket_directories=\(directory)",
            "fsync=off", "logging_collector=off", "autovacuum=off",
        ]
        options = (own + settings).map { "-c \($0)" }.joined(separator: " ")
        // It may be another process by then, after a restart.
        let script = """
            "\(programs)/postgres" -D "\(directory)/data" \(options) </dev/null &
            cat >/dev/null
            "\(programs)/pg_ctl" -D "\(directory)/data" -w -t 30 -m fast stop; rm -rf "\(directory)"
            """
        _ = try spawnWithLeash(
            PostgresCluster.asServer(["sh", "-c", script]), output: "\(directory)/log")
        try waitUntilReady()
    }

    /// What the cluster of most tests is set to.
    public static let usual = [
        "max_connections=300", "max_prepared_transactions=50", "shared_buffers=64MB",
        "wal_level=logical", "max_wal_senders=10",
        // A transaction that asks for more than a local commit waits for ever: a way to lose a session in its COMMIT.
        "synchronous_standby_names=nobody", "synchronous_commit=local",
    ]

    /// Stops the server as a crash would, or waits for its sessions' end first. ``start()`` has it back.
    public func stop(crash: Bool) throws {
        try PostgresCluster.stop("\(directory)/data", programs, crash: crash)
    }

    public func start() throws {
        try PostgresCluster.start(
            "\(directory)/data", programs, options, log: "\(directory)/restart.log")
    }

    static func stop(_ data: String, _ programs: String, crash: Bool) throws {
        try run(
            asServer([
                "\(programs)/pg_ctl", "-D", data, "-w", "-t", "30", "-m",
                crash ? "immediate" : "fast", "stop",
            ]))
    }

    static func start(_ data: String, _ programs: String, _ options: String, log: String) throws {
        try run(
            asServer([
                "\(programs)/pg_ctl", "-D", data, "-w", "-t", "60", "-l", log, "-o", options,
                "start",
            ]))
    }

    /// An empty database of its own, whose name starts with the given word.
    public func makeDatabase(_ word: String = "test") throws -> String {
        let number = databases.add(1, ordering: .relaxed).newValue
        let name = "\(word)_\(number)"
        try run([
            "\(programs)/psql", "-h", directory, "-p", "\(port)", "-U", PostgresCluster.superuser,
            "-d", "postgres",
            "-qc", "CREATE DATABASE \(name) TEMPLATE template0",
        ])
        return name
    }

    /// The address of a database over the cluster's socket.
    public func address(_ database: String, user: String = superuser) -> String {
        "host=\(directory) port=\(port) user=\(user) dbname=\(database)"
    }

    /// The address of a database over loopback, as a URL.
    public func url(_ database: String, user: String = superuser) -> String {
        "postgresql://\(user)@127.0.0.1:\(port)/\(database)"
    }

    /// `pg_dump -s` without the upgrade's own schema.
    public func schemaDump(_ database: String) throws -> String {
        try run([
            "\(programs)/pg_dump", "-h", directory, "-p", "\(port)", "-U",
            PostgresCluster.superuser, "-s",
            "--exclude-schema=sluice", database,
        ])
    }

    private func waitUntilReady() throws {
        for _ in 0..<600 {
            if (try? run(["\(programs)/pg_isready", "-q", "-h", directory, "-p", "\(port)"])) != nil
            {
                return
            }
            usleep(50_000)
        }
        throw SpawnError(description: "PostgreSQL did not start; see \(directory)/log")
    }

    static func asServer(_ arguments: [String]) -> [String] {
        getuid() == 0 ? ["runuser", "-u", "postgres", "--"] + arguments : arguments
    }

    /// The programs that `SLUICE_POSTGRES` names (see scripts/install-postgres), or else the newest that Debian has.
    private static func findPrograms() throws -> String {
        if let named = getenv("SLUICE_POSTGRES").map({ String(cString: $0) }), !named.isEmpty {
            guard access("\(named)/initdb", X_OK) == 0 else {
                throw SpawnError(description: "SLUICE_POSTGRES=\(named): there is no initdb")
            }
            return named
        }
        var found = glob_t()
        defer { globfree(&found) }
        guard glob("/usr/lib/postgresql/*/bin/initdb", 0, nil, &found) == 0, found.gl_pathc > 0,
            let last = found.gl_pathv[Int(found.gl_pathc) - 1]
        else {
            throw SpawnError(
                description: "no PostgreSQL server under /usr/lib/postgresql; install postgresql")
        }
        return String(String(cString: last).dropLast("/initdb".count))
    }

    /// From `postgres (PostgreSQL) 17.10` or `postgres (PostgreSQL) 15.18 (Debian …)`.
    private static func version(of programs: String) throws -> Int {
        let words = try run(["\(programs)/postgres", "--version"]).split(separator: " ")
        guard words.count > 2, let major = words[2].split(separator: ".").first.flatMap({ Int($0) })
        else { throw SpawnError(description: "\(programs)/postgres names no version") }
        return major
    }

    static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw SpawnError(description: "no socket") }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(descriptor, raw, length) == 0 && getsockname(descriptor, raw, &length) == 0
            }
        }
        guard bound else { throw SpawnError(description: "no free port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
