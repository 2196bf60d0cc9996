// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc

/// The link that leads to what a node serves: `current`. What was started by a path through it is of the release that it led to then.
public struct ServedLink: Hashable, Sendable {
    public var path: String
    /// When the release stopped being served, in the kernel's ticks since the boot; `nil` where only what is stopped counts.
    var end: UInt64?

    /// For a release that is served again and whose processes are to go on: only what is stopped was frozen with it.
    public init(stoppedOnlyThrough path: String) {
        self.path = path
    }

    /// For a release that is not served any more: what began before the link was made that is there now.
    ///
    /// - Returns: `nil` when there is no such link.
    public init?(replacedAt path: String) {
        var status = stat()
        var now = timespec()
        var sinceBoot = timespec()
        guard lstat(path, &status) == 0, clock_gettime(CLOCK_REALTIME, &now) == 0,
            clock_gettime(CLOCK_BOOTTIME, &sinceBoot) == 0
        else { return nil }
        // A rename is a change of the link's own inode.
        let ago = ServedLink.hundredths(now) - ServedLink.hundredths(status.st_ctim)
        self.path = path
        end = UInt64(max(0, ServedLink.hundredths(sinceBoot) - max(0, ago)))
    }

    /// The kernel counts starts in hundredths of a second (proc_pid_stat(5), sysconf(_SC_CLK_TCK)).
    private static func hundredths(_ time: timespec) -> Int {
        time.tv_sec * 100 + time.tv_nsec / 10_000_000
    }

    func leadsToTheRelease(for process: ProcessStatus) -> Bool {
        if let end { process.identity.start < end } else { process.isStopped }
    }
}

/// Programs that run others' files and keep none of them open: `python3 /srv/shop/current/files/worker.py`, as cron and units start it.
enum Interpreter {
    private static let shells: Set<String> = ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"]
    private static let others = [
        "python", "ruby", "node", "nodejs", "php", "perl", "java", "deno", "bun", "dotnet", "lua",
        "uwsgi",
    ]

    /// Variables that say where an interpreter looks for code: `python3 -m shop.worker` names no file of it.
    static let codeVariables: Set<String> = [
        "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RUBYLIB", "GEM_HOME", "GEM_PATH",
        "BUNDLE_GEMFILE", "BUNDLE_PATH", "NODE_PATH", "PERL5LIB", "CLASSPATH", "LUA_PATH",
        "PHP_INI_SCAN_DIR",
    ]

    /// - Parameter program: the target of `/proc/PID/exe`.
    static func isShell(_ program: String) -> Bool { shells.contains(name(program)) }

    /// One that people do not just stand in a directory with.
    static func runsCode(_ program: String) -> Bool {
        let name = name(program)
        // `python3.11`, `php8.2-cgi` and `nodejs` are as good as the bare names.
        return others.contains {
            name.hasPrefix($0) && name.dropFirst($0.count).first?.isLetter != true
        }
    }

    private static func name(_ program: String) -> String {
        let last = program.split(separator: "/").last.map(String.init) ?? program
        return last.hasSuffix(" (deleted)") ? String(last.dropLast(10)) : last
    }
}

extension ReleaseFootprint {
    /// Whether it is an interpreter that was given a file of the release.
    func isScript(of process: ProcessStatus, _ own: ProcessDetails) -> Bool {
        guard let program = own.program else { return false }
        let isShell = Interpreter.isShell(program)
        guard isShell || Interpreter.runsCode(program) else { return false }
        // What it is called by counts: a venv's interpreter is a link in the release to one that is not.
        var arguments = own.arguments[...]
        if isShell || arguments.first?.contains("/") != true { arguments = arguments.dropFirst() }
        // A shell has one script; what comes after it may be a file that the script only reads.
        if isShell { arguments = arguments.drop { $0.hasPrefix("-") }.prefix(1) }
        return arguments.contains { names($0, process, own) }
    }

    /// Whether it is an interpreter that is told by its variables to look for code in the release, wherever it works.
    func looksForCode(_ process: ProcessStatus, _ own: ProcessDetails) -> Bool {
        guard let program = own.program, Interpreter.runsCode(program) else { return false }
        return own.codePaths().contains { path in
            if let link = servedLink, path == link.path || path.hasPrefix(link.path + "/") {
                return link.leadsToTheRelease(for: process)
            }
            return contains(path)
        }
    }

    /// `-cp a.jar:b.jar` and `--config=file` name files as well.
    private func names(_ argument: String, _ process: ProcessStatus, _ own: ProcessDetails) -> Bool
    {
        argument.split(whereSeparator: { $0 == ":" || $0 == "=" }).contains { part in
            var path = String(part)
            if !path.hasPrefix("/") {
                guard let working = own.link("cwd"), contains(working) else { return false }
                path = working + "/" + path
            }
            if let link = servedLink, path.hasPrefix(link.path + "/") {
                return link.leadsToTheRelease(for: process)
            }
            return path.hasPrefix(directory + "/") && isFile(path)
        }
    }

    /// A tool that is given a directory of the release (a backup, an action) is not of it.
    private func isFile(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }
}
