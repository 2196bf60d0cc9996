// SPDX-License-Identifier: Apache-2.0

import Files
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
        case holdSessions = "hold-sessions"
        case outOfService = "out-of-service"
    }

    let directory: String

    /// Makes the directory when it is absent.
    func prepare() throws(GateError) {
        do throws(FileFailure) {
            // A narrower umask would hide the flags from the proxy's workers.
            try makeDirectory(directory, mode: 0o755)
        } catch {
            throw GateError(
                .flagNotWritten,
                "cannot make the runtime directory \(directory): \(error.reason)",
                advice: "make it (systemd: RuntimeDirectory=sluice) or name another one")
        }
    }

    /// As nginx sees it with `if (-f …)`: a regular file, through symlinks. Anything else that has the name is no flag.
    func isRaised(_ flag: Flag) -> Bool {
        var entry = stat()
        return stat(path(flag.rawValue), &entry) == 0 && entry.st_mode & S_IFMT == S_IFREG
    }

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
        for flag in flags where !isRaised(flag) {
            throw GateError(
                .flagNotWritten, "\(path(flag.rawValue)) was written and is not a regular file",
                advice: "see what else writes to \(directory)")
        }
    }

    /// Makes flags vanish. Nothing waits for the disk: one that a power cut brings back is on the closed side.
    func lower(_ flags: [Flag]) throws(GateError) {
        for flag in flags {
            let path = path(flag.rawValue)
            guard unlink(path) == 0 || errno == ENOENT || !isRaised(flag) else {
                throw GateError(
                    .flagNotRemoved, "cannot remove \(path): \(errorText())",
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
        let path = path("mode.json")
        guard unlink(path) == 0 || errno == ENOENT else {
            throw notWritten("mode.json", errorText())
        }
    }

    /// The setting to start with.
    ///
    /// A mode that cannot be read, and a flag without a mode, are taken for read-only: opening is somebody's decision,
    /// never the result of damage.
    func storedSetting() -> GateSetting {
        let caution = GateSetting(writes: .refuse(retryAfter: .seconds(5), message: ""))
        switch read("mode.json", atMost: 65_536) {
        case .absent: return Flag.admission.contains(where: isRaised) ? caution : .open
        case .unreadable: return caution
        case .bytes(let bytes): return ModeFile.decode(bytes)?.setting?.bounded ?? caution
        }
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }
}

extension GateFiles {
    private func write(_ bytes: [UInt8], to name: String, isSynced: Bool) throws(GateError) {
        // A directory of that name, which no rename replaces, goes when it is empty.
        rmdir(path(name))
        do throws(FileFailure) {
            // The proxy's workers run as another user, whatever the umask of the agent.
            try replaceFile(
                path(name), with: bytes, mode: 0o644, durability: isSynced ? .content : .none)
        } catch {
            throw notWritten(name, error.reason)
        }
    }

    private func syncDirectory() throws(GateError) {
        do throws(FileFailure) { try Files.syncDirectory(directory) } catch {
            throw notWritten("", error.reason)
        }
    }

    private func notWritten(_ name: String, _ reason: String) -> GateError {
        GateError(
            .flagNotWritten, "cannot write \(path(name)) durably: \(reason)",
            advice: "free space in \(directory) or correct its permissions")
    }

    private enum Content {
        case absent, unreadable
        case bytes([UInt8])
    }

    private func read(_ name: String, atMost limit: Int) -> Content {
        do throws(FileFailure) {
            return .bytes(try readFile(path(name), atMost: limit, followsLinks: false))
        } catch {
            return error.number == ENOENT ? .absent : .unreadable
        }
    }
}

/// What the last failed system call says.
func errorText() -> String { systemReason(errno) }
