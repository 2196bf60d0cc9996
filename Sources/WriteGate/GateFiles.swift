// SPDX-License-Identifier: Apache-2.0

import Glibc
import UpgradeModel

/// The flag files in the runtime directory: what a proxy obeys when the agent is gone.
///
/// A flag is there before the gate closes and until after it has opened, so at any instant of a crash the proxy errs on the
/// closed side.
struct GateFiles: Sendable {
    enum Flag: String, CaseIterable, Sendable {
        case readOnly = "read-only"
        case holdReads = "hold-reads"
        case outOfService = "out-of-service"
    }

    let directory: String

    /// Makes the directory when it is absent.
    func prepare() throws(GateError) {
        if mkdir(directory, 0o755) == 0 {
            // A narrower umask would hide the flags from the proxy's workers.
            chmod(directory, 0o755)
            return
        }
        guard errno != EEXIST else { return }
        throw GateError(
            .flagNotWritten, "cannot make the runtime directory \(directory): \(errorText())",
            advice: "make it (systemd: RuntimeDirectory=sluice) or name another one")
    }

    func isRaised(_ flag: Flag) -> Bool { access(path(flag.rawValue), F_OK) == 0 }

    /// Makes flags exist, and the mode too when one is given, durably: what is asked for is on disk when this returns.
    ///
    /// One sync of the directory for all of them. A flag is its name; its content is for people.
    func raise(_ flags: [Flag], storing mode: GateSetting? = nil) throws(GateError) {
        let missing = flags.filter { !isRaised($0) }
        if let mode { try write(ModeFile(mode).encoded, to: "mode.json", isSynced: true) }
        for flag in missing {
            try write(Array("raised by sluice-agent\n".utf8), to: flag.rawValue, isSynced: false)
        }
        if mode != nil || !missing.isEmpty { try syncDirectory() }
    }

    /// Makes flags vanish. Nothing waits for the disk: one that a power cut brings back is on the closed side.
    func lower(_ flags: [Flag]) throws(GateError) {
        for flag in flags {
            guard unlink(path(flag.rawValue)) == 0 || errno == ENOENT else {
                throw GateError(
                    .flagNotRemoved, "cannot remove \(path(flag.rawValue)): \(errorText())",
                    advice: "remove it by hand: without an agent the proxy obeys it")
            }
        }
    }

    /// Replaces a stored mode by one that is less closed, without waiting for the disk either. Open is the absence of the file,
    /// so that opening needs no space.
    func relax(to mode: GateSetting) throws(GateError) {
        guard mode == .open else {
            return try write(ModeFile(mode).encoded, to: "mode.json", isSynced: false)
        }
        guard unlink(path("mode.json")) == 0 || errno == ENOENT else {
            throw notWritten("mode.json")
        }
    }

    /// The setting to start with.
    ///
    /// A mode that cannot be read, and a flag without a mode, are taken for read-only: opening is somebody's decision,
    /// never the result of damage.
    func storedSetting() -> GateSetting {
        let caution = GateSetting(writes: .refuse(retryAfter: .seconds(5), message: ""))
        switch read("mode.json", atMost: 65_536) {
        case .absent: return isRaised(.readOnly) || isRaised(.holdReads) ? caution : .open
        case .unreadable: return caution
        case .bytes(let bytes): return ModeFile.decode(bytes)?.setting ?? caution
        }
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }
}

extension GateFiles {
    /// Temporary file, fsync, rename: the name holds the old content or the new one, never a part.
    private func write(_ bytes: [UInt8], to name: String, isSynced: Bool) throws(GateError) {
        let temporary = path(".\(name).new")
        let descriptor = open(
            temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else { throw notWritten(name) }
        // The proxy's workers run as another user, whatever the umask of the agent.
        var failed = fchmod(descriptor, 0o644) != 0
        var rest = bytes[...]
        while !failed, !rest.isEmpty {
            let count = Glibc.write(descriptor, Array(rest), rest.count)
            if count > 0 { rest = rest.dropFirst(count) } else { failed = errno != EINTR }
        }
        failed = failed || (isSynced && fsync(descriptor) != 0)
        let error = failed ? notWritten(name) : nil
        close(descriptor)
        if let error { throw error }
        guard rename(temporary, path(name)) == 0 else { throw notWritten(name) }
    }

    private func syncDirectory() throws(GateError) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw notWritten("") }
        let error = fsync(descriptor) == 0 ? nil : notWritten("")
        close(descriptor)
        if let error { throw error }
    }

    private func notWritten(_ name: String) -> GateError {
        GateError(
            .flagNotWritten, "cannot write \(path(name)) durably: \(errorText())",
            advice: "free space in \(directory) or correct its permissions")
    }

    private enum Content {
        case absent, unreadable
        case bytes([UInt8])
    }

    private func read(_ name: String, atMost limit: Int) -> Content {
        let descriptor = open(path(name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return errno == ENOENT ? .absent : .unreadable }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= limit {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return .bytes(bytes) }
            if count > 0 { bytes += chunk[..<count] } else if errno != EINTR { return .unreadable }
        }
        return .unreadable
    }
}

/// What the last failed system call says.
func errorText() -> String { String(cString: strerror(errno)) }
