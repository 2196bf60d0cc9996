// SPDX-License-Identifier: Apache-2.0

import CPostgres

/// Where to connect, and with what limits.
public struct ConnectionOptions: Sendable {
    /// A URL (`postgresql://user@host/database`) or a libpq connection string. May hold a password; never shown.
    public var address: String
    /// What the session calls itself in `pg_stat_activity`.
    public var applicationName: String
    /// At most this many seconds for one address of the server; at least 2 by libpq's rule.
    public var connectTimeoutSeconds: Int
    /// How long data may stay unacknowledged before the connection counts as lost.
    public var unacknowledgedSeconds: Int

    public init(
        address: String, applicationName: String, connectTimeoutSeconds: Int = 5,
        unacknowledgedSeconds: Int = 10
    ) {
        self.address = address
        self.applicationName = applicationName
        self.connectTimeoutSeconds = connectTimeoutSeconds
        self.unacknowledgedSeconds = unacknowledgedSeconds
    }

    /// Keywords and values for libpq; what the address says itself comes later and so wins, apart from the name.
    var parameters: [(keyword: String, value: String)] {
        [
            ("connect_timeout", "\(max(2, connectTimeoutSeconds))"),
            ("keepalives_idle", "\(unacknowledgedSeconds)"),
            ("keepalives_interval", "2"),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", "\(unacknowledgedSeconds * 1000)"),
            ("dbname", address),
            ("application_name", applicationName),
            ("client_encoding", "UTF8"),
        ]
    }

    /// Everything in the address that must not be seen.
    ///
    /// - Throws: ``PostgresError/connectFailed(_:)`` when the address cannot be read. libpq's own reason may quote the
    ///   address, so it is not passed on.
    func secrets() throws(PostgresError) -> [String] {
        guard let options = PQconninfoParse(address, nil) else {
            throw .connectFailed(
                "the address is neither postgresql://user@host:port/database nor keyword=value pairs"
            )
        }
        defer { PQconninfoFree(options) }
        var secrets: [String] = []
        var option = options
        // SAFETY: libpq ends the array with an entry whose keyword is null.
        while let keyword = option.pointee.keyword {
            if ["password", "sslpassword"].contains(String(cString: keyword)),
                let value = option.pointee.val
            {
                secrets.append(String(cString: value))
            }
            option += 1
        }
        return secrets.filter { !$0.isEmpty }
    }
}
