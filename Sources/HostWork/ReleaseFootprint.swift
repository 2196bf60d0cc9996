// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc

/// How a process can be known to belong to a release.
public struct ReleaseFootprint: Hashable, Sendable {
    /// The name and the beginning of the digest: `v2.3f786850e387`.
    public var identifier: String
    /// Everything of the release is beneath it.
    public var directory: String
    /// Where its application listens.
    public var socket: String
    /// By which processes may have been started that are the release's.
    public var servedLink: ServedLink?

    public init(
        identifier: String, directory: String, socket: String, servedLink: ServedLink? = nil
    ) {
        self.identifier = identifier
        self.directory = directory
        self.socket = socket
        self.servedLink = servedLink
    }

    /// Whether a path is the release's directory or lies in it.
    func contains(_ path: String) -> Bool {
        path == directory || path.hasPrefix(directory + "/")
    }
}

/// What tells that a process is of a release. The raw value is for people.
enum ProcessMark: String {
    case listener = "listens on its socket"
    case environment = "was started for it"
    case program = "runs a program of it"
    case mapping = "has a file of it in memory"
    case script = "runs a script of it"
    case searchPath = "looks for its code in it"
    case directory = "works in its directory"
    case openFile = "writes a file of it"
    case descendant = "is a child of such a process"
    case group = "is in the control group of its application"
}

extension ReleaseFootprint {
    /// What a process says of itself, as far as it can be read; the cheapest first.
    func mark(of process: ProcessStatus, _ own: ProcessDetails, listeners: Set<UInt64>)
        -> ProcessMark?
    {
        if own.belongs(to: self) { return .environment }
        return ownMark(of: process, own, listeners: listeners)
    }

    /// As ``mark(of:_:listeners:)``, without what a process hands on to whatever it starts, another release among it.
    func ownMark(of process: ProcessStatus, _ own: ProcessDetails, listeners: Set<UInt64>)
        -> ProcessMark?
    {
        if let program = own.program, contains(program) { return .program }
        if isScript(of: process, own) { return .script }
        if looksForCode(process, own) { return .searchPath }
        // A person's shell or editor that stands in the directory writes nothing; a worker in tmux does.
        if !process.hasTerminal || own.program.map(Interpreter.runsCode) == true,
            let working = own.link("cwd"), contains(working)
        {
            return .directory
        }
        if own.holds(listeners) { return .listener }
        if own.openFiles.contains(where: { contains($0.target) && own.isWritable($0.number) }) {
            return .openFile
        }
        if own.maps(fileIn: directory) { return .mapping }
        return nil
    }
}

/// What `/proc/PID` has of one process, read when it is first asked for. What cannot be read is not there.
final class ProcessDetails {
    let number: Int32

    init(number: Int32) { self.number = number }

    func link(_ name: String) -> String? { try? linkTarget("/proc/\(number)/\(name)") }

    lazy var program: String? = link("exe")

    /// As they were given, or as the process shows itself now.
    lazy var arguments: [String] = {
        let bytes = (try? readFile("/proc/\(number)/cmdline", atMost: 1 << 20)) ?? []
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }()

    /// The variables that an action gets; what it leaves running inherits them.
    func belongs(to release: ReleaseFootprint) -> Bool {
        let values = variables
        if let directory = values["SLUICE_RELEASE_DIR"] { return release.contains(directory) }
        if let socket = values["SLUICE_SOCKET"] { return socket == release.socket }
        // A name alone may be that of another application's release.
        return values["SLUICE_RELEASE"] == release.identifier
    }

    private lazy var variables: [Substring: String] = readVariables()

    /// What variables of interpreters say of where code lies: `PYTHONPATH=/srv/shop/current/files:/opt/lib`.
    func codePaths() -> [String] {
        guard let bytes = try? readFile("/proc/\(number)/environ", atMost: 4 << 20) else {
            return []
        }
        return bytes.split(separator: 0).flatMap { entry -> [String] in
            let text = String(decoding: entry, as: UTF8.self)
            guard let sign = text.firstIndex(of: "="),
                Interpreter.codeVariables.contains(String(text[..<sign]))
            else { return [] }
            return text[text.index(after: sign)...].split(separator: ":").map(String.init)
        }
    }

    private func readVariables() -> [Substring: String] {
        let wanted = ["SLUICE_RELEASE_DIR=", "SLUICE_SOCKET=", "SLUICE_RELEASE="]
        guard let bytes = try? readFile("/proc/\(number)/environ", atMost: 4 << 20) else {
            return [:]
        }
        guard contains(bytes, "SLUICE_") else { return [:] }
        var values: [Substring: String] = [:]
        for entry in bytes.split(separator: 0) where entry.starts(with: "SLUICE_".utf8) {
            let text = String(decoding: entry, as: UTF8.self)
            guard let name = wanted.first(where: text.hasPrefix) else { continue }
            values[name.dropLast()] = String(text.dropFirst(name.count))
        }
        return values
    }

    struct OpenFile {
        var number: Int32
        var target: String
        /// The inode, for a socket.
        var socket: UInt64? {
            guard target.hasPrefix("socket:["), target.hasSuffix("]") else { return nil }
            return UInt64(target.dropFirst(8).dropLast())
        }
    }

    lazy var openFiles: [OpenFile] = readOpenFiles()

    func holds(_ sockets: Set<UInt64>) -> Bool {
        !sockets.isEmpty && openFiles.contains { $0.socket.map(sockets.contains) ?? false }
    }

    private func readOpenFiles() -> [OpenFile] {
        let directory = "/proc/\(number)/fd"
        return ProcessTable.numbers(in: directory).compactMap { file in
            guard let target = try? linkTarget("\(directory)/\(file)") else { return nil }
            return OpenFile(number: file, target: target)
        }
    }

    /// A backup that reads a file is not of the application.
    func isWritable(_ file: Int32) -> Bool {
        guard let text = try? readTextFile("/proc/\(number)/fdinfo/\(file)", atMost: 65_536),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("flags:") }),
            let flags = Int32(line.dropFirst(6).drop { $0 == "\t" || $0 == " " }, radix: 8)
        else { return false }
        return flags & O_ACCMODE != O_RDONLY
    }

    func maps(fileIn directory: String) -> Bool {
        guard let bytes = try? readFile("/proc/\(number)/maps", atMost: 16 << 20) else {
            return false
        }
        // A path begins after a space.
        return contains(bytes, " " + directory + "/")
    }

    /// Of the unified hierarchy (cgroups(7)).
    func controlGroup() -> String? {
        guard let text = try? readTextFile("/proc/\(number)/cgroup", atMost: 65_536) else {
            return nil
        }
        return text.split(separator: "\n").first { $0.hasPrefix("0::") }
            .map { String($0.dropFirst(3)) }
    }
}

/// Whether a text is somewhere in bytes; hundreds of large tables are looked through while writers wait.
private func contains(_ bytes: [UInt8], _ text: String) -> Bool {
    let wanted = Array(text.utf8)
    guard let first = wanted.first, bytes.count >= wanted.count else { return false }
    // SAFETY: the search begins at `start` and ends before `last`, behind which as many bytes follow as are compared.
    return bytes.withUnsafeBytes { buffer in
        guard var start = buffer.baseAddress else { return false }
        let last = start + (buffer.count - wanted.count + 1)
        while start < last, let found = memchr(start, Int32(first), last - start) {
            if memcmp(found, wanted, wanted.count) == 0 { return true }
            start = UnsafeRawPointer(found) + 1
        }
        return false
    }
}
