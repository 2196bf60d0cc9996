// SPDX-License-Identifier: Apache-2.0

import Files
import FoundationEssentials
import Glibc
import NodeEngine
import UpgradeModel

/// The node's memory on disk: one JSON object a line, appended, on disk before what it announces happens.
///
/// A last line that is not complete is what a crash leaves: it was never acted upon and is cut off. Anything else that cannot be
/// read is damage, and the journal refuses to open: a node that forgot its epoch would obey an old leader.
struct AgentJournal: ~Copyable {
    let path: String
    private var descriptor: Int32
    private var size: Int64
    /// Set by the first write that failed. Nothing is written after it: what reached the disk is unknown.
    private var isBroken = false

    /// From this size on the journal is written anew with what it folds to.
    static let compactionSize: Int64 = 1 << 20
    /// Space in a file beside the journal that is given up when the disk is full, so that a lift can still be written down.
    private static let reserve: Int64 = 256 << 10
    private static let limit: Int64 = 64 << 20

    /// One line of the file.
    private struct Line: Codable {
        var at: Instant
        var record: NodeJournalRecord
    }

    struct Opened: ~Copyable {
        var journal: AgentJournal
        var memory: NodeMemory
        /// The latest instant in it.
        var latest: Instant
    }

    /// Opens a journal, or begins one, and folds it.
    ///
    /// - Throws: when it cannot be read, or is damaged; nothing has been changed then.
    static func open(_ path: String) throws(SystemFailure) -> Opened {
        let descriptor = Glibc.open(
            path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw SystemFailure(errno: "open \(path)") }
        var journal = AgentJournal(path: path, descriptor: descriptor, size: 0)
        guard lockFile(descriptor) else {
            throw SystemFailure(
                "another agent has \(path) open; stop it, or name another state directory")
        }
        let bytes = try journal.readWhole()
        var memory = NodeMemory()
        var latest = Instant(milliseconds: 0)
        let complete = (bytes.lastIndex(of: 10) ?? -1) + 1
        let decoder = JSONDecoder()
        for (index, text) in bytes[..<complete].split(separator: 10).enumerated() {
            do {
                let line = try decoder.decode(Line.self, from: Data(text))
                memory.apply(line.record)
                latest = max(latest, line.at)
            } catch {
                throw SystemFailure(
                    "\(path) is damaged in line \(index + 1); the agent does not start, because it may have "
                        + "forgotten which coordinator to obey. See what the coordinator says of this node, "
                        + "move the file away, and start the agent again")
            }
        }
        if complete < bytes.count, ftruncate(descriptor, off_t(complete)) != 0 {
            throw SystemFailure(errno: "cut the torn end off \(path)")
        }
        journal.size = Int64(complete)
        journal.reserveSpace()
        try onFiles { () throws(FileFailure) in try syncDirectory(parentDirectory(of: path)) }
        return Opened(journal: journal, memory: memory, latest: latest)
    }

    deinit { close(descriptor) }

    /// Appends records; returns when they are on disk, with one `fsync` for all of them.
    ///
    /// - Throws: once, and from then on always.
    mutating func append(_ records: [NodeJournalRecord], at now: Instant) throws(SystemFailure) {
        guard !records.isEmpty else { return }
        guard !isBroken else { throw SystemFailure("\(path) could not be written before") }
        let bytes = try encode(records, at: now)
        isBroken = true
        do throws(FileFailure) {
            try writeAll(bytes, to: descriptor, path)
        } catch {
            // Nothing has been synced, so what was written of it can be taken back.
            guard error.number == ENOSPC, unlink(path + ".reserve") == 0,
                ftruncate(descriptor, off_t(size)) == 0,
                (try? writeAll(bytes, to: descriptor, path)) != nil
            else { throw SystemFailure(error) }
        }
        guard fdatasync(descriptor) == 0 else { throw SystemFailure(errno: "sync \(path)") }
        isBroken = false
        size += Int64(bytes.count)
    }

    var isLarge: Bool { size >= AgentJournal.compactionSize }

    /// Writes the journal anew with what it folds to. When that fails the old one stays, and is as good.
    mutating func compact(_ memory: NodeMemory, at now: Instant) throws(SystemFailure) {
        guard !isBroken else { return }
        let temporary = path + ".new"
        unlink(temporary)
        let fresh = Glibc.open(
            temporary, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard fresh >= 0 else { throw SystemFailure(errno: "create \(temporary)") }
        do throws(SystemFailure) {
            let bytes = try encode(memory.records(at: now), at: now)
            try onFiles { () throws(FileFailure) in try writeAll(bytes, to: fresh, temporary) }
            guard fsync(fresh) == 0 else { throw SystemFailure(errno: "sync \(temporary)") }
            guard flock(fresh, LOCK_EX | LOCK_NB) == 0 else {
                throw SystemFailure(errno: "lock \(temporary)")
            }
            guard rename(temporary, path) == 0 else {
                throw SystemFailure(errno: "rename \(temporary)")
            }
            close(descriptor)
            descriptor = fresh
            size = Int64(bytes.count)
        } catch {
            close(fresh)
            unlink(temporary)
            throw error
        }
        try onFiles { () throws(FileFailure) in try syncDirectory(parentDirectory(of: path)) }
    }

    private func encode(_ records: [NodeJournalRecord], at now: Instant) throws(SystemFailure)
        -> [UInt8]
    {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var bytes: [UInt8] = []
        for record in records {
            do {
                bytes += try encoder.encode(Line(at: now, record: record))
            } catch {
                throw SystemFailure("cannot write a record of \(path) as JSON")
            }
            bytes.append(10)
        }
        return bytes
    }

    private func readWhole() throws(SystemFailure) -> [UInt8] {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SystemFailure(errno: "inspect \(path)") }
        guard status.st_size <= AgentJournal.limit else {
            throw SystemFailure("\(path) is larger than any journal")
        }
        return try onFiles { () throws(FileFailure) in
            try readAll(from: descriptor, path, atMost: Int(AgentJournal.limit))
        }
    }

    private func reserveSpace() {
        let reserve = Glibc.open(
            path + ".reserve", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard reserve >= 0 else { return }
        // Best effort: without it a full disk stops the agent.
        _ = posix_fallocate(reserve, 0, off_t(AgentJournal.reserve))
        close(reserve)
    }
}
