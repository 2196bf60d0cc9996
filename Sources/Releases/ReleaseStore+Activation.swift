// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import UpgradeModel

/// Which release a node serves, since which generation.
public struct Activation: Hashable, Sendable {
    public var release: ReleaseReference
    /// Rises with every activation on this node, back to an old release too; never used for another release.
    public var generation: CacheGeneration
    /// The directory with `files`, `app.sock` and `release`.
    public var directory: String

    public init(release: ReleaseReference, generation: CacheGeneration, directory: String) {
        self.release = release
        self.generation = generation
        self.directory = directory
    }
}

extension ReleaseStore {
    /// What `current` points to; `nil` before the first activation.
    public func current() throws(ReleaseFailure) -> Activation? {
        guard let status = try files.status(layout.current) else { return nil }
        guard status.kind == .link, let target = try files.target(ofLink: layout.current),
            let name = target.split(separator: "/").last.map(String.init),
            target == "activations/\(name)",
            let activation = try activation(named: name)
        else {
            throw ReleaseFailure(
                .damaged,
                "\(layout.current) is not a link to an activation; move it away and activate a release again"
            )
        }
        return activation
    }

    /// The link to what the node serves.
    public nonisolated var currentLink: String { layout.current }

    /// Whether what is served now was served before a release as well as after it.
    public func isFlippedBack(from release: ReleaseReference) throws(ReleaseFailure) -> Bool {
        let all = try activations()
        guard let current = try current(), current.release != release,
            let last = all.last(where: { $0.release == release })
        else { return false }
        // Both under one generation: the one on the standby came after the other, and was left again if that is served.
        if current.generation == last.generation { return current.release.database == nil }
        return all.contains {
            $0.release == current.release && $0.generation < last.generation
        }
    }

    /// The next generation that nobody has used on this node.
    public func nextGeneration() throws(ReleaseFailure) -> CacheGeneration {
        (try latestActivation()?.generation ?? .zero).next
    }

    /// The generation to prepare a release under: the current one for the release that is served, on another database, since its pages
    /// are the same; otherwise the next.
    public func generation(
        toPrepare release: ReleaseReference
    ) throws(ReleaseFailure) -> CacheGeneration {
        if let current = try current(), current.release.isOnAnotherDatabase(than: release) {
            return current.generation
        }
        return try nextGeneration()
    }

    /// The activation of the highest generation on disk, whether `current` points to it, it is prepared, or a flip was undone.
    public func latestActivation() throws(ReleaseFailure) -> Activation? {
        try activations().max { $0.generation < $1.generation }
    }

    /// Makes a release the one that `current` points to, with one rename.
    ///
    /// Calling it again with the same release and generation changes nothing and returns the same. When this returns the flip
    /// is on the disk; when it throws or dies, `current` is the old activation or the new one, never anything else.
    ///
    /// - Throws: ``ReleaseFailure/Code/notStaged``; ``ReleaseFailure/Code/staleGeneration`` when the generation is below one
    ///   that this node has had or belongs to another release.
    public func activate(
        _ release: ReleaseReference, generation: CacheGeneration
    ) throws(ReleaseFailure) -> Activation {
        let activation = try prepareActivation(release, generation: generation)
        let target = "activations/\(activation.name)"
        if try files.target(ofLink: layout.current) != target {
            try files.remove(layout.nextCurrent)
            try files.symbolicLink(to: target, at: layout.nextCurrent)
            try files.rename(layout.nextCurrent, to: layout.current)
        }
        // Also when the link was right already: the call that made it may have died before this line.
        try files.sync(layout.root)
        return activation
    }

    /// Everything of an activation except the flip, so that the flip in the write window is three system calls.
    ///
    /// Optional: `activate` does it when it has not been done.
    @discardableResult
    public func prepareActivation(
        _ release: ReleaseReference, generation: CacheGeneration
    ) throws(ReleaseFailure) -> Activation {
        guard try isStaged(release) else { throw notStaged(release) }
        let all = try activations()
        let activation = Activation(
            release: release, generation: generation,
            directory: "\(layout.activations)/\(generation.rawValue)-\(release.identifier)")
        let highest = all.map(\.generation).max() ?? .zero
        let isKept = try isKept(generation, by: release)
        guard generation > .zero, generation >= highest || isKept else {
            throw ReleaseFailure(
                .staleGeneration,
                "generation \(generation.rawValue) of \(release.identifier) is refused: this node has had "
                    + "\(highest.rawValue)")
        }
        let isOther = { (other: Activation) in
            other.generation == generation && !other.release.isSameApplication(as: release)
        }
        if let other = all.first(where: isOther) {
            throw ReleaseFailure(
                .staleGeneration,
                "generation \(generation.rawValue) is that of \(other.release.identifier) already")
        }
        if !all.contains(activation) { try makeActivation(activation) }
        return activation
    }

    /// Whether what is served now is the same release under this generation, on this database or another one.
    private func isKept(
        _ generation: CacheGeneration, by release: ReleaseReference
    ) throws(ReleaseFailure) -> Bool {
        guard let current = try current() else { return false }
        return current.generation == generation && current.release.isSameApplication(as: release)
    }

    private func makeActivation(_ activation: Activation) throws(ReleaseFailure) {
        let next = layout.nextActivation(activation.name)
        try files.removeTree(next)
        try files.makeDirectory(next, mode: 0o755)
        try files.symbolicLink(
            to: "../../releases/\(activation.release.identifier)/files", at: "\(next)/files")
        try files.symbolicLink(to: socketPath(of: activation.release), at: "\(next)/app.sock")
        try files.write(activation.record, to: "\(next)/release", mode: 0o444)
        try files.sync(next)
        try files.rename(next, to: activation.directory)
        try files.sync(layout.activations)
    }

    /// All activations that are kept, the lowest generation first.
    func activations() throws(ReleaseFailure) -> [Activation] {
        var all: [Activation] = []
        for name in try files.names(in: layout.activations) {
            guard let activation = try activation(named: name) else {
                throw ReleaseFailure(
                    .damaged, "\(layout.activations)/\(name) is not an activation; move it away")
            }
            all.append(activation)
        }
        return all.sorted { $0.generation < $1.generation }
    }

    private func activation(named name: String) throws(ReleaseFailure) -> Activation? {
        let directory = "\(layout.activations)/\(name)"
        guard try files.status("\(directory)/release")?.kind == .file else { return nil }
        let record = try files.read("\(directory)/release", limit: 4096)
        guard let activation = Activation(record: record, directory: directory),
            activation.name == name
        else { return nil }
        return activation
    }
}

extension Activation {
    /// The name of its directory.
    var name: String { release.activationName(generation) }

    /// The `release` file: four lines, or five with a database, for people and for the store.
    var record: [UInt8] {
        let text = """
            sluice-activation 1
            generation \(generation.rawValue)
            release \(release.name)
            manifest \(release.manifest)

            """
        return Array((text + (release.database.map { "database \($0.rawValue)\n" } ?? "")).utf8)
    }

    init?(record: [UInt8], directory: String) {
        let lines = String(decoding: record, as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: " ", maxSplits: 1).map(String.init)
        }
        guard lines.count == 4 || lines.count == 5, lines.allSatisfy({ $0.count == 2 }),
            lines[0] == ["sluice-activation", "1"],
            lines[1][0] == "generation", let number = Int64(lines[1][1]), lines[2][0] == "release",
            let name = ReleaseName(lines[2][1]), lines[3][0] == "manifest",
            let digest = Digest(lines[3][1])
        else { return nil }
        // What it does not know of a fifth line is not in the record that is compared below.
        let database = lines.count == 5 ? ReleaseDatabase(rawValue: lines[4][1]) : nil
        self.init(
            release: ReleaseReference(name: name, manifest: digest, database: database),
            generation: CacheGeneration(rawValue: number), directory: directory)
        guard self.record == record else { return nil }
    }
}
