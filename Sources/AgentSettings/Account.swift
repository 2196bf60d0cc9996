// SPDX-License-Identifier: Apache-2.0

import Glibc

/// An account of the system, with all its groups.
public struct Account: Hashable, Sendable {
    public var name: String
    public var user: UInt32
    public var group: UInt32
    public var groups: [UInt32]

    public init(name: String, user: UInt32, group: UInt32, groups: [UInt32]) {
        self.name = name
        self.user = user
        self.group = group
        self.groups = groups
    }

    /// The search path of every action, whatever the agent's own is.
    public static let searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    /// util-linux's setpriv(1), where there is one.
    public static let setpriv: String? = searchPath.split(separator: ":")
        .map { folder -> String in "\(folder)/setpriv" }.first { access($0, X_OK) == 0 }

    /// What becomes this account and then the command that follows.
    ///
    /// Not done between fork and exec in a process with threads: glibc's calls wait there for threads that the child does not
    /// have.
    public func prefix(setpriv: String) -> [String] {
        let list = groups.map(String.init).joined(separator: ",")
        return [
            setpriv, "--reuid", String(user), "--regid", String(group),
        ] + (groups.isEmpty ? ["--clear-groups"] : ["--groups", list]) + ["--"]
    }

    /// - Returns: `nil` when this machine has no such user.
    static func named(_ name: String) -> Account? {
        // SAFETY: the entry's pointers lead into `buffer`, which lives as long; only numbers are used afterwards.
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 65_536)
        guard getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else {
            return nil
        }
        var count: Int32 = 256
        var groups = [gid_t](repeating: 0, count: Int(count))
        let listed = getgrouplist(name, entry.pw_gid, &groups, &count)
        let supplementary = listed >= 0 ? Array(groups.prefix(Int(count))) : [entry.pw_gid]
        return Account(
            name: name, user: entry.pw_uid, group: entry.pw_gid, groups: supplementary)
    }

    /// - Returns: `nil` when this machine has no such group.
    static func group(_ name: String) -> UInt32? {
        // SAFETY: the entry's pointers lead into `buffer`, which lives as long; only the number is used afterwards.
        var entry = Glibc.group()
        var found: UnsafeMutablePointer<Glibc.group>?
        var buffer = [CChar](repeating: 0, count: 65_536)
        guard getgrnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else {
            return nil
        }
        return entry.gr_gid
    }
}
