// SPDX-License-Identifier: Apache-2.0

internal import CFiles
internal import ContentDigest
internal import Files
internal import Glibc
internal import UpgradeModel

/// The calls that the store makes, each with an error that names the call and the path.
///
/// Every call that changes something asks `beforeChange` first. The store passes nothing; its tests pass one that fails at the
/// n-th change and at every later one, which is what `kill -9` looks like from the disk.
struct FileSystem: Sendable {
    var beforeChange: (@Sendable (String) throws(ReleaseFailure) -> Void)?

    enum Kind { case file, directory, link, other }

    struct Status {
        var kind: Kind
        var size: Int64
        var mode: UInt32
        /// The user's number.
        var owner: UInt32
        var device: UInt64
        var inode: UInt64
        /// Nanoseconds since 1970.
        var modified: Int64
    }

    // MARK: - Looking

    /// `nil` when there is nothing; links are not followed.
    func status(_ path: String) throws(ReleaseFailure) -> Status? {
        var result = stat()
        guard lstat(path, &result) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw failure("inspect", path)
        }
        return Status(result)
    }

    /// The path without a link in it; `nil` when it leads to nothing, or round in a circle.
    func resolved(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { Glibc.free(real) }
        return String(cString: real)
    }

    /// Whether something is there, links followed to their end.
    func isReachable(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// The names in a directory, sorted bytewise, without `.` and `..`; empty when there is no such directory.
    ///
    /// - Throws: also when a name is not UTF-8.
    func names(in directory: String) throws(ReleaseFailure) -> [String] {
        let (names, unreadable) = try listing(of: directory)
        if let first = unreadable.first {
            throw ReleaseFailure(
                FileFailure(
                    "list", directory, reason: "a name in it is not UTF-8, \(first); rename it"))
        }
        return names
    }

    /// As ``names(in:)``, and beside them those that are not UTF-8, for people.
    func listing(
        of directory: String
    ) throws(ReleaseFailure) -> (names: [String], unreadable: [String]) {
        var names: [String] = []
        var unreadable: [String] = []
        do throws(FileFailure) {
            for bytes in try directoryNames(directory) {
                if let name = String(validating: bytes, as: UTF8.self) {
                    names.append(name)
                } else {
                    unreadable.append(shown(String(decoding: bytes, as: UTF8.self)))
                }
            }
        } catch {
            if error.number == ENOENT { return ([], []) }
            throw ReleaseFailure(error)
        }
        return (
            names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }, unreadable.sorted()
        )
    }

    func target(ofLink path: String) throws(ReleaseFailure) -> String? {
        do throws(FileFailure) { return try linkTarget(path) } catch {
            if error.number == ENOENT { return nil }
            throw ReleaseFailure(error)
        }
    }

    /// - Throws: also when the file has more bytes than the limit.
    func read(_ path: String, limit: Int) throws(ReleaseFailure) -> [UInt8] {
        try FileSystem.call { () throws(FileFailure) in
            try readFile(path, atMost: limit, followsLinks: false)
        }
    }

    /// Digest and size of a regular file; a link is not followed.
    func digest(_ path: String) throws(ReleaseFailure) -> (digest: Digest, size: Int64) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw ReleaseFailure(.fileSystem, "\(path) is not a regular file")
        }
        var hasher = SHA256Hasher()
        var size: Int64 = 0
        // SAFETY: given back below, and never read beyond what was read into it.
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 16)
        defer { chunk.deallocate() }
        while true {
            let count = Glibc.read(descriptor, chunk.baseAddress, chunk.count)
            if count == 0 { return (hasher.finalize(), size) }
            guard count > 0 else {
                if errno == EINTR { continue }
                throw failure("read", path)
            }
            hasher.update(UnsafeRawBufferPointer(rebasing: chunk[..<count]))
            size += Int64(count)
        }
    }

    /// What this user may still write, in bytes and in inodes (`nil` when the file system has no fixed number of them).
    func free(at path: String) throws(ReleaseFailure) -> (bytes: Int64, inodes: Int64?) {
        var result = statvfs()
        guard statvfs(path, &result) == 0 else { throw failure("ask for the free space of", path) }
        let (bytes, overflow) = Int64(clamping: result.f_bavail)
            .multipliedReportingOverflow(by: Int64(clamping: result.f_frsize))
        return (
            overflow ? Int64.max : bytes,
            result.f_files == 0 ? nil : Int64(clamping: result.f_favail)
        )
    }

    // MARK: - Changing

    /// Makes a directory of exactly this mode; one that is there already gets the mode.
    func makeDirectory(_ path: String, mode: UInt32) throws(ReleaseFailure) {
        try beforeChange?("mkdir \(path)")
        guard mkdir(path, mode) == 0 || errno == EEXIST else {
            guard errno == ENOENT else { throw failure("make the directory", path) }
            throw ReleaseFailure(
                .fileSystem,
                "\(path) cannot be made, because the directory above it is not there; mkdir -p \(parentDirectory(of: path))"
            )
        }
        guard try status(path)?.kind == .directory else {
            throw ReleaseFailure(
                .fileSystem, "\(path) is in the way: a directory is needed there; move it")
        }
        guard chmod(path, mode) == 0 else { throw failure("set the mode of", path) }
    }

    func setMode(_ path: String, _ mode: UInt32) throws(ReleaseFailure) {
        try beforeChange?("chmod \(path)")
        guard chmod(path, mode) == 0 else { throw failure("set the mode of", path) }
    }

    /// Gives a path the user and the group of another one.
    func setOwner(of path: String, as other: String) throws(ReleaseFailure) {
        var wanted = stat()
        var found = stat()
        guard lstat(other, &wanted) == 0 else { throw failure("inspect", other) }
        guard lstat(path, &found) == 0 else { throw failure("inspect", path) }
        guard wanted.st_uid != found.st_uid || wanted.st_gid != found.st_gid else { return }
        try beforeChange?("chown \(path)")
        guard lchown(path, wanted.st_uid, wanted.st_gid) == 0 else {
            throw failure("set the owner of", path)
        }
    }

    /// - Returns: false when this file cannot have another link: too many already, or another file system.
    func link(_ source: String, to path: String) throws(ReleaseFailure) -> Bool {
        try beforeChange?("link \(path)")
        if Glibc.link(source, path) == 0 { return true }
        guard errno == EMLINK || errno == EXDEV || errno == EPERM || errno == EOPNOTSUPP else {
            throw failure("link \(source) to", path)
        }
        return false
    }

    func symbolicLink(to target: String, at path: String) throws(ReleaseFailure) {
        try beforeChange?("symlink \(path)")
        guard symlink(target, path) == 0 else { throw failure("make the link", path) }
    }

    func rename(_ source: String, to path: String) throws(ReleaseFailure) {
        try beforeChange?("rename \(path)")
        guard Glibc.rename(source, path) == 0 else { throw failure("rename \(source) to", path) }
    }

    /// Nothing there is success.
    func remove(_ path: String) throws(ReleaseFailure) {
        try beforeChange?("unlink \(path)")
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("remove", path) }
    }

    func removeDirectory(_ path: String) throws(ReleaseFailure) {
        try beforeChange?("rmdir \(path)")
        guard rmdir(path) == 0 || errno == ENOENT else {
            throw failure("remove the directory", path)
        }
    }

    /// Removes what is there, a directory with everything in it; links are removed, not followed.
    func removeTree(_ path: String) throws(ReleaseFailure) {
        guard let status = try status(path) else { return }
        guard status.kind == .directory else { return try remove(path) }
        for name in try names(in: path) { try removeTree("\(path)/\(name)") }
        try removeDirectory(path)
    }

    /// Writes a new file and brings it to the disk. What is there is replaced in place.
    func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(ReleaseFailure) {
        try beforeChange?("write \(path)")
        try FileSystem.call { () throws(FileFailure) in
            try writeFile(path, bytes, mode: mode, isSynced: true)
        }
    }

    /// Writes a new file and leaves it to a later call to bring it to the disk.
    func writeUnsynced(_ bytes: [UInt8], to path: String, mode: UInt32) throws(ReleaseFailure) {
        try beforeChange?("write \(path)")
        try FileSystem.call { () throws(FileFailure) in
            try writeFile(path, bytes, mode: mode, isSynced: false)
        }
    }

    /// Brings everything of the file system that a path is on to the disk, in one call: for thousands of files, each of which would
    /// wait for a commit of its own.
    func syncAll(at path: String) throws(ReleaseFailure) {
        try beforeChange?("syncfs \(path)")
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard sluice_syncfs(descriptor) == 0 else { throw failure("sync", path) }
    }

    /// Copies a file to a new one of this mode and brings it to the disk.
    func copy(_ source: String, to path: String, mode: UInt32) throws(ReleaseFailure) {
        try beforeChange?("copy \(path)")
        let input = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard input >= 0 else { throw failure("open", source) }
        defer { close(input) }
        let output = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard output >= 0 else { throw failure("create", path) }
        defer { close(output) }
        while true {
            let count = sendfile(output, input, nil, 1 << 30)
            if count == 0 { break }
            guard count > 0 || errno == EINTR else { throw failure("copy \(source) to", path) }
        }
        guard fchmod(output, mode) == 0, fsync(output) == 0 else { throw failure("sync", path) }
    }

    /// Brings a file's content, or a directory's names, to the disk.
    func sync(_ path: String) throws(ReleaseFailure) {
        try beforeChange?("fsync \(path)")
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("sync", path) }
    }

    /// What the last call said; taken before anything else is called.
    func failure(_ operation: String, _ path: String) -> ReleaseFailure {
        ReleaseFailure(FileFailure(operation, path, errno))
    }

    static func call<Value>(
        _ body: () throws(FileFailure) -> Value
    ) throws(ReleaseFailure) -> Value {
        do throws(FileFailure) { return try body() } catch { throw ReleaseFailure(error) }
    }
}

extension ReleaseFailure {
    init(_ failure: FileFailure) {
        let isFull = failure.number == ENOSPC || failure.number == EDQUOT
        self.init(
            isFull ? .noSpace : .fileSystem,
            failure.description + (isFull ? "; make room on this file system" : ""))
    }
}

extension FileSystem.Status {
    init(_ status: stat) {
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .file
        case S_IFDIR: kind = .directory
        case S_IFLNK: kind = .link
        default: kind = .other
        }
        size = Int64(status.st_size)
        mode = UInt32(status.st_mode) & 0o7777
        owner = status.st_uid
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        modified = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
    }
}
