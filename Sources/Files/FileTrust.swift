// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What can be changed by somebody else than root and this process's own user, on the way to a file.
///
/// Whoever can write a file, or can put another one in its place because a directory above it is theirs, decides what it says. A
/// directory with the sticky bit, such as `/tmp`, lets others add names and not replace this one.
///
/// - Parameters:
///   - path: absolute. Links in it are followed, and the directories of what they name are looked at as well.
///   - trusted: further users that may own it.
/// - Returns: what is wrong with the first such place, with the command that mends it; `nil` when all is well.
/// - Throws: when it is not there, or cannot be looked at.
public func trustProblem(
    with path: String, ownersBesides trusted: Set<UInt32> = []
) throws(FileFailure) -> String? {
    // Of the path as it was given and of what it leads to: either can be replaced.
    guard let real = realpath(path, nil) else { throw .last("find", path) }
    defer { free(real) }
    let target = String(cString: real)
    let owners = trusted.union([0, geteuid()])
    for location in target == path ? [path] : [path, target] {
        var current = location
        while true {
            if let problem = try problem(at: current, owners: owners, isLeaf: current == target) {
                return problem
            }
            let parent = parentDirectory(of: current)
            guard parent != current, parent != "." else { break }
            current = parent
        }
    }
    return nil
}

private func problem(
    at path: String, owners: Set<UInt32>, isLeaf: Bool
) throws(FileFailure) -> String? {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw .last("inspect", path) }
    guard owners.contains(status.st_uid) else {
        return "\(path) belongs to user \(status.st_uid), who could change it; chown root \(path)"
    }
    // The mode of a link says nothing.
    guard status.st_mode & S_IFMT != S_IFLNK, status.st_mode & 0o022 != 0 else { return nil }
    if status.st_mode & 0o002 == 0, isGroup(status.st_gid, of: owners) { return nil }
    if !isLeaf, status.st_mode & S_ISVTX != 0 { return nil }
    return "others may write \(path); chmod go-w \(path)"
}

/// Whether nobody but these users is in a group: Debian's `staff` is empty, and a user's own group has only that user.
private func isGroup(_ group: UInt32, of owners: Set<UInt32>) -> Bool {
    if group == 0 { return true }
    setpwent()
    defer { endpwent() }
    var names: Set<String> = []
    while let user = getpwent() {
        if owners.contains(user.pointee.pw_uid) {
            names.insert(String(cString: user.pointee.pw_name))
        } else if user.pointee.pw_gid == group {
            return false
        }
    }
    guard let entry = getgrgid(group), let members = entry.pointee.gr_mem else { return true }
    var index = 0
    while let member = members[index] {
        if !names.contains(String(cString: member)) { return false }
        index += 1
    }
    return true
}

/// What lets others read a file that holds a secret, with the command that mends it; `nil` when it is its owner's alone.
///
/// - Throws: when it is not there, or is not a regular file.
public func secrecyProblem(with path: String) throws(FileFailure) -> String? {
    var status = stat()
    guard stat(path, &status) == 0 else { throw .last("find", path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
        throw FileFailure("read", path, reason: "it is not a regular file")
    }
    guard status.st_mode & 0o077 != 0 else { return nil }
    return "others may read \(path); chmod 600 \(path)"
}
