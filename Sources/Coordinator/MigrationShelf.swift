// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import SchemaUpgrade
import Synchronization
import UpgradeModel

/// Migrations that have been read, by the digest of their files: what a plan was looked over with is not read again for its run, nor
/// what two runs have in common.
///
/// To read takes about a second for five megabytes. Two who ask for the same at once may both read it.
public final class MigrationShelf: Sendable {
    typealias Read = @Sendable ([MigrationSet.File]) throws(MigrationSet.Invalid) -> MigrationSet

    /// Sets that are kept; one of the largest has some fifty megabytes.
    private static let kept = 2

    /// What databases were like when they were looked at: a mended migration is for a worker of its own, which did not.
    let schemas = SchemaMemory()
    private let read: Read
    private let sets = Mutex<[MigrationSet]>([])

    public convenience init() {
        self.init { files throws(MigrationSet.Invalid) in try MigrationSet.read(files) }
    }

    init(read: @escaping Read) { self.read = read }

    /// - Throws: what is wrong with the files; that is not kept.
    func set(of files: [MigrationSet.File]) throws(MigrationSet.Invalid) -> MigrationSet {
        let digest = MigrationSet.digest(of: files)
        if let known = sets.withLock({ sets in sets.last { $0.digest == digest } }) {
            keep(known)
            return known
        }
        let set = try read(files)
        keep(set)
        return set
    }

    /// What was asked for last stays longest.
    private func keep(_ set: MigrationSet) {
        sets.withLock { sets in
            sets.removeAll { $0.digest == set.digest }
            sets.append(set)
            if sets.count > MigrationShelf.kept { sets.removeFirst() }
        }
    }
}
