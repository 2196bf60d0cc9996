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
    for place in target == path ? [path] : [path, target] {
        var current = place
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
    // Root's group is nobody else's, and neither is that of a process which runs as a user of its own.
    let ownGroups: Set<UInt32> = geteuid() == 0 ? [0] : [0, getegid()]
    if status.st_mode & 0o002 == 0, ownGroups.contains(status.st_gid) { return nil }
    if !isLeaf, status.st_mode & S_ISVTX != 0 { return nil }
    return "others may write \(path); chmod go-w \(path)"
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
