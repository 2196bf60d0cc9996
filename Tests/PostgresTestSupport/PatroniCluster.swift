// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Debian's Patroni over a private primary and its standby: a store (etcd) and one Patroni for each server, on free ports of loopback.
///
/// They take over the servers as they run, as on a site that comes to Patroni later. When this process ends they are killed, and the
/// servers end as they do without them.
public final class PatroniCluster: Sendable {
    public let directory: String
    /// The ports of the REST APIs.
    public let ofPrimary: Int
    public let ofStandby: Int
    /// The name of the primary's member; the standby's is that of its slot.
    public static let primary = "p1"
    /// What a change of anything wants.
    public static let user = "sluice:secret"

    private let store: Int
    private let programs: String

    public init(_ primary: PostgresCluster, _ standby: PostgresStandby) throws {
        var template = Array("/tmp/sluice-patroni-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) } != nil
        }
        guard made else { throw SpawnError(description: "no temporary directory") }
        directory = String(
            decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        programs = primary.programs
        store = try PostgresCluster.freePort()
        ofPrimary = try PostgresCluster.freePort()
        ofStandby = try PostgresCluster.freePort()
        if getuid() == 0 { try run(["chown", "postgres:", directory]) }
        try startStore()
        // A Patroni that finds no leader leaves a standby alone.
        try start(
            PatroniCluster.primary, port: primary.port, api: ofPrimary, in: primary.directory)
        try waitFor("primary", of: ofPrimary)
        try start(standby.slot, port: standby.port, api: ofStandby, in: standby.directory)
        try waitFor("replica", of: ofStandby)
    }

    private func startStore() throws {
        let peer = "http://127.0.0.1:\(try PostgresCluster.freePort())"
        let client = "http://127.0.0.1:\(store)"
        try keep(
            """
            etcd --data-dir "\(directory)/etcd" --listen-client-urls \(client) --advertise-client-urls \(client) \
            --listen-peer-urls \(peer) --initial-advertise-peer-urls \(peer) --initial-cluster default=\(peer) --unsafe-no-fsync
            """, log: "etcd")
        try waitFor("health", of: store)
    }

    private func start(_ name: String, port: Int, api: Int, in place: String) throws {
        let settings = """
            scope: sluice
            name: \(name)
            restapi:
              listen: 127.0.0.1:\(api)
              connect_address: 127.0.0.1:\(api)
              authentication: {username: sluice, password: secret}
            etcd3: {host: "127.0.0.1:\(store)"}
            bootstrap:
              dcs:
                ttl: 20
                loop_wait: 1
                retry_timeout: 3
                maximum_lag_on_failover: 1048576
                postgresql: {use_slots: true, use_pg_rewind: true, parameters: {max_connections: 60, wal_level: logical, wal_log_hints: "on"}}
            postgresql:
              listen: 127.0.0.1:\(port)
              connect_address: 127.0.0.1:\(port)
              data_dir: \(place)/data
              bin_dir: \(programs)
              pgpass: \(directory)/\(name).pgpass
              authentication: {superuser: {username: postgres}, replication: {username: postgres}}
              parameters: {unix_socket_directories: "\(place)", fsync: "off", shared_buffers: 32MB}

            """
        try run(
            PostgresCluster.asServer([
                "sh", "-c", "printf %s \"$1\" > \"$2\"", "sh", settings, "\(directory)/\(name).yml",
            ]))
        try keep("patroni \"\(directory)/\(name).yml\"", log: name)
    }

    /// Runs a program for as long as this process. Killed, and not asked to end, Patroni leaves its server alone.
    private func keep(_ command: String, log: String) throws {
        let script = """
            \(command) </dev/null & program=$!
            cat >/dev/null
            kill -9 $program; rm -rf "\(directory)"
            """
        _ = try spawnWithLeash(
            PostgresCluster.asServer(["sh", "-c", script]), output: "\(directory)/\(log).log")
    }

    private func waitFor(_ page: String, of port: Int) throws {
        for _ in 0..<600 {
            if (try? ask(port, page)) != nil { return }
            usleep(50_000)
        }
        throw SpawnError(
            description: "Patroni's \(page) did not come to be so; see the logs in \(directory)")
    }

    /// - Returns: the body of a page that is answered with 200.
    @discardableResult
    public func ask(_ port: Int, _ page: String) throws -> String {
        try run(["curl", "-sf", "-m", "5", "http://127.0.0.1:\(port)/\(page)"])
    }

    /// The address of the REST API, for whoever changes something.
    public var address: String { "http://\(PatroniCluster.user)@127.0.0.1:\(ofStandby)" }

    /// As `patronictl` changes settings, and as it makes another member the leader.
    public func tell(
        _ method: String, _ page: String, _ body: String, to port: Int? = nil
    ) throws {
        try run([
            "curl", "-sS", "-f", "-m", "60", "-u", PatroniCluster.user, "-X", method, "-d", body,
            "http://127.0.0.1:\(port ?? ofStandby)/\(page)",
        ])
    }

    /// The settings of the cluster, as they are stored.
    public func settings() throws -> String { try ask(ofPrimary, "config") }
}
