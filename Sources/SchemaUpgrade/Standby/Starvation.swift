// SPDX-License-Identifier: Apache-2.0

/// How a standby is cut off from its primary and its archive so that it stays so through a restart and a crash, and no secret has
/// to be kept anywhere else: the setting that leads to the primary keeps all that it says, and ends in an address that leads nowhere.
///
/// `hostaddr` counts before `host`, and of two the last, in both forms of a libpq connection string ("Connection Strings", 34.1.1). The kernel
/// connects nobody to the broadcast address, so nothing is sent. `host` and `port` stay what they are: Patroni, paused or not, gives a standby
/// back whatever it has set itself, and compares nothing else.
enum Starvation {
    private static let words = " hostaddr=255.255.255.255"
    private static let parameters = "hostaddr=255.255.255.255"
    /// A shell takes the rest of the line for a comment, and ends before the next one.
    private static let command = "exit 1 # sluice: "

    private static func isURL(_ conninfo: String) -> Bool {
        conninfo.hasPrefix("postgresql://") || conninfo.hasPrefix("postgres://")
    }

    static func isStarved(conninfo: String) -> Bool {
        conninfo.hasSuffix(words) || conninfo.hasSuffix(parameters)
    }

    static func starved(conninfo: String) -> String {
        if isStarved(conninfo: conninfo) { return conninfo }
        guard isURL(conninfo) else { return conninfo + words }
        return conninfo + (conninfo.contains("?") ? "&" : "?") + parameters
    }

    /// What it was before; what is not starved stays as it is.
    static func fed(conninfo: String) -> String {
        if conninfo.hasSuffix(words) { return String(conninfo.dropLast(words.count)) }
        if conninfo.hasSuffix(parameters) {
            return String(conninfo.dropLast(parameters.count + 1))
        }
        return conninfo
    }

    static func starved(restore: String) -> String {
        restore.isEmpty || restore.hasPrefix(command) ? restore : command + restore
    }

    static func fed(restore: String) -> String {
        restore.hasPrefix(command) ? String(restore.dropFirst(command.count)) : restore
    }
}
