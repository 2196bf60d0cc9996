// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A streaming standby of a private cluster: a base backup in a directory of its own, with a slot on the primary, a free port on
/// loopback and no fsync. It ends and goes away as ``PostgresCluster`` does.
public final class PostgresStandby: Sendable {
    public let primary: PostgresCluster
    public let directory: String
    public let port: Int
    /// The slot on the primary, which is the standby's name there, too.
    public let slot: String
    private let options: String

    /// - Parameter setsInFile: whether `primary_conninfo` stands in `postgresql.conf`, as administrators write it, and not in
    ///   `postgresql.auto.conf`, as `pg_basebackup -R` writes it.
    /// - Parameter above: the standby that it streams from, where that is not the primary itself.
    public init(
        of primary: PostgresCluster, slot: String = "s1", setsInFile: Bool = false,
        below above: PostgresStandby? = nil
    ) throws {
        self.primary = primary
        self.slot = slot
        var template = Array("/tmp/sluice-standby-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) } != nil
        }
        guard made else { throw SpawnError(description: "no temporary directory") }
        directory = String(
            decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        port = try PostgresCluster.freePort()
        options = [
            "port=\(port)", "listen_addresses=127.0.0.1", "unix_socket_directories=\(directory)",
            "fsync=off", "logging_collector=off", "autovacuum=off",
        ].map { "-c \($0)" }.joined(separator: " ")
        if getuid() == 0 { try run(["chown", "postgres:", directory]) }
        try run(
            PostgresCluster.asServer([
                "\(primary.programs)/pg_basebackup", "-D", data, "-d",
                "host=127.0.0.1 port=\(above?.port ?? primary.port) user=\(PostgresCluster.superuser) "
                    + "application_name=\(slot)",
                "-R", "-C", "-S", slot, "-X", "stream", "-c", "fast", "--no-sync",
            ]))
        let moved = """
            cd "\(data)" && grep '^primary_' postgresql.auto.conf >> postgresql.conf
            sed -i '/^primary_/d' postgresql.auto.conf
            """
        if setsInFile { try run(PostgresCluster.asServer(["sh", "-ec", moved])) }
        // The shell waits for this process's end; the server is started beside it, so that tests can stop it.
        let script = """
            cat >/dev/null
            "\(primary.programs)/pg_ctl" -D "\(data)" -w -t 30 -m immediate stop; rm -rf "\(directory)"
            """
        _ = try spawnWithLeash(
            PostgresCluster.asServer(["sh", "-c", script]), output: "\(directory)/leash")
        try start()
    }

    public var data: String { "\(directory)/data" }

    public func stop(crash: Bool) throws {
        try PostgresCluster.stop(data, primary.programs, crash: crash)
    }

    /// Makes another standby, which is stopped, one of this server, which was promoted, over a slot named as the other's.
    public func rewind(_ other: PostgresStandby) throws {
        // Until then its control file has the timeline of before.
        try run([
            "\(primary.programs)/psql", "-Xqh", directory, "-p", "\(port)", "-U",
            PostgresCluster.superuser, "-d", "postgres", "-c", "CHECKPOINT",
        ])
        try run(
            PostgresCluster.asServer([
                "\(primary.programs)/pg_rewind", "--target-pgdata", other.data,
                "--write-recovery-conf", "--source-server",
                "host=127.0.0.1 port=\(port) user=\(PostgresCluster.superuser) dbname=postgres application_name=\(other.slot)",
            ]))
        // pg_rewind keeps the slot's name as it finds it in the source.
        let name = "primary_slot_name = '\(other.slot)'"
        try run(
            PostgresCluster.asServer([
                "sh", "-c", "echo \"$1\" >> \"$2\"", "sh", name,
                "\(other.data)/postgresql.auto.conf",
            ]))
    }

    public func start() throws {
        try PostgresCluster.start(data, primary.programs, options, log: "\(directory)/log")
    }

    /// The address of a database over the standby's socket.
    public func address(_ database: String, user: String = PostgresCluster.superuser) -> String {
        "host=\(directory) port=\(port) user=\(user) dbname=\(database)"
    }
}
