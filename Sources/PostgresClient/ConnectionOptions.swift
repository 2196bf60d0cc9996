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
    /// - Throws: ``PostgresError/addressUnreadable(_:)``. libpq's own reason may quote the address, so it is not passed on.
    func secrets() throws(PostgresError) -> [String] {
        let secrets = try settings().filter { ["password", "sslpassword"].contains($0.keyword) }
        // As they are, and as the address has them.
        return (secrets.map(\.value) + writtenSecrets(address)).filter { !$0.isEmpty }
    }

    /// What in the address leaves it to libpq, or to the moment, which server is met: several hosts, or a rule for a choice among them.
    ///
    /// - Throws: ``PostgresError/addressUnreadable(_:)``.
    public func choices() throws(PostgresError) -> [String] {
        try settings().filter { setting in
            switch setting.keyword {
            case "host", "hostaddr": setting.value.contains(",")
            case "target_session_attrs": setting.value != "any"
            case "load_balance_hosts": setting.value != "disable"
            default: false
            }
        }.map(\.keyword)
    }

    /// What the address itself says.
    private func settings() throws(PostgresError) -> [(keyword: String, value: String)] {
        if hasRawCharacters(address) { throw .addressUnreadable(encodeAdvice) }
        guard let options = PQconninfoParse(address, nil) else {
            throw .addressUnreadable(
                "the database's address is neither postgresql://user:password@host:port/database nor keyword=value pairs; "
                    + "in a URL, special characters of a password are percent-encoded")
        }
        defer { PQconninfoFree(options) }
        var settings: [(keyword: String, value: String)] = []
        var option = options
        // SAFETY: libpq ends the array with an entry whose keyword is null.
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val {
                settings.append((String(cString: keyword), String(cString: value)))
            }
            option += 1
        }
        return settings
    }
}

/// How to write a password into a URL.
private let encodeAdvice = """
    the user name or the password in the database's URL has a character that means something else there: write / as %2F, \
    @ as %40, : as %3A, ? as %3F, # as %23, % as %25, and a space as %20
    """

/// The part of a URL between its scheme and its last `@`; `nil` when there is none.
private func credentials(of address: String) -> Substring? {
    guard
        let scheme = ["postgresql://", "postgres://"].first(where: { address.hasPrefix($0) }),
        let end = address.lastIndex(of: "@")
    else { return nil }
    return address.dropFirst(scheme.count).prefix(upTo: end)
}

/// Whether the credentials of a URL hold a character that libpq takes for the end of something, so that it would go on with a
/// part of the password as a host, a port or a database, and name it in its messages.
private func hasRawCharacters(_ address: String) -> Bool {
    guard let credentials = credentials(of: address) else { return false }
    let bytes = Array(credentials.utf8)
    for (index, byte) in bytes.enumerated() {
        switch byte {
        case UInt8(ascii: "/"), UInt8(ascii: "@"), UInt8(ascii: "?"), UInt8(ascii: "#"), 0...0x20,
            0x7F:
            return true
        case UInt8(ascii: "%"):
            guard index + 2 < bytes.count, bytes[index + 1...index + 2].allSatisfy(isHexadecimal)
            else { return true }
        default: break
        }
    }
    return false
}

private func isHexadecimal(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
        UInt8(ascii: "A")...UInt8(ascii: "F"):
        true
    default: false
    }
}

/// The password of a URL as it is written there, percent signs and all.
private func writtenSecrets(_ address: String) -> [String] {
    guard let credentials = credentials(of: address),
        let colon = credentials.firstIndex(of: ":")
    else { return [] }
    return [String(credentials[credentials.index(after: colon)...])]
}
