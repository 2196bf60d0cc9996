// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Small files of the operator's own disk, read whole and never more than a limit.
enum TextFile {
    /// The bytes of a regular file.
    ///
    /// - Parameter what: what the file is for the operator: `plan`, `migration`.
    static func bytes(of path: String, what: String, limit: Int) throws(CommandFailure) -> [UInt8] {
        // Without O_NONBLOCK, opening a pipe that has no writer would wait for one.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure("open", what, path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("inspect", what, path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw CommandFailure(
                code: "file", "the \(what) \(path) is not a regular file",
                advice: "give the path of a file")
        }
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count == 0 { return content }
            if count < 0 {
                if errno == EINTR { continue }
                throw failure("read", what, path, errno)
            }
            content += buffer[..<count]
            guard content.count <= limit else {
                throw CommandFailure(
                    code: "file",
                    "the \(what) \(path) is larger than \(Operator.bytes(Int64(limit)))",
                    advice: "is it the right file?")
            }
        }
    }

    static func firstLine(of path: String, what: String) throws(CommandFailure) -> String {
        let content = try bytes(of: path, what: what, limit: 64 * 1024)
        let line = String(decoding: content.prefix { $0 != 10 && $0 != 13 }, as: UTF8.self)
        guard !line.isEmpty else {
            throw CommandFailure(
                code: "file", "the \(what) file \(path) has an empty first line",
                advice: "write the \(what) into it, as one line")
        }
        return line
    }

    /// The names in a directory, sorted.
    static func names(in path: String, what: String, limit: Int) throws(CommandFailure) -> [String]
    {
        guard let directory = opendir(path) else { throw failure("open", what, path, errno) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                // SAFETY: readdir ends every name with a zero byte within d_name.
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
            guard names.count <= limit else {
                throw CommandFailure(
                    code: "file", "the \(what) \(path) has more than \(limit) entries",
                    advice: "is it the right directory?")
            }
        }
        return names.sorted()
    }

    /// Writes a whole file: to a new one beside it, then in its place.
    static func write(_ text: String, to path: String) throws(CommandFailure) {
        let draft = "\(path).\(getpid()).new"
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            let number = errno
            throw number == ENOENT ? noDirectory(of: path) : failure("create", "file", path, number)
        }
        var failed: Int32 = 0
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty && failed == 0 {
            // SAFETY: the buffer is only read, during the call and within its count.
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { failed = errno }
        }
        if close(descriptor) != 0 && failed == 0 { failed = errno }
        if failed == 0 && rename(draft, path) != 0 { failed = errno }
        if failed != 0 {
            unlink(draft)
            throw failure("write", "file", path, failed)
        }
    }

    private static func noDirectory(of path: String) -> CommandFailure {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        return CommandFailure(
            code: "file",
            "cannot create the file \(path): the directory \(directory) does not exist",
            advice: "make it, or give another path")
    }

    private static func failure(
        _ operation: String, _ what: String, _ path: String, _ number: Int32
    ) -> CommandFailure {
        CommandFailure(
            code: "file",
            "cannot \(operation) the \(what) \(path): \(String(cString: strerror(number)))",
            advice: advice(number))
    }

    private static func advice(_ number: Int32) -> String {
        switch number {
        case ENOENT, ENOTDIR: "check the path; it is relative to the directory that you are in"
        case EACCES, EPERM: "let your user have it, or run this as its owner"
        case ENOSPC, EDQUOT: "free space on its disk, then try again"
        default: "look at the file and its disk, then try again"
        }
    }
}
