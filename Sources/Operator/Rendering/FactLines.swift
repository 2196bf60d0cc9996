// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel

/// The facts of a run as plain lines, for pipes and logs.
///
/// Of a fleet that a person does not read by name, what many nodes do alike is counted: a line a second at most, and one when the
/// step goes on. What goes wrong is named, until it is many.
struct FactLines {
    /// What is told of one fact: its line, and indented ones that belong to it.
    struct Output: Hashable, Sendable {
        var lines: [String]
        /// Whether it counts on from the one before, which a screen may draw it over.
        var continues = false
    }

    /// So many nodes are named one by one.
    static let named = 20

    private var began: Instant?
    private var sentences = FactSentences()
    private var nodes = 0
    private var counts: [NodeCount] = []
    /// Nodes that went wrong in this step and were named.
    private var namedTroubles = 0

    init(began: Instant? = nil) { self.began = began }

    /// What to show now; nothing when the fact is counted and told later.
    mutating func add(_ fact: ReceivedFact) -> [Output] {
        switch fact {
        case .known(let entry):
            began = began ?? entry.at
            if case .created(let created) = entry.event { nodes = created.nodes.count }
            guard let kind = NodeCount.Kind(entry.event) else {
                let counted = flush()
                counts = []
                namedTroubles = 0
                return counted + [output(sentences.describe(entry.event), at: entry.at)]
            }
            if isCounted(kind) { return count(kind, entry) }
            return flush() + [output(sentences.describe(entry.event), at: entry.at)]
        case .newer(let fact):
            began = began ?? fact.at
            return flush() + [
                output(
                    ["\(fact.type): of a coordinator that is newer than this program"], at: fact.at)
            ]
        }
    }

    /// Counts that were not told yet: the step takes its time, or the watching ends.
    mutating func flush() -> [Output] {
        counts.indices.compactMap { index in
            counts[index].unshown().map {
                output([$0.text], at: counts[index].at, continues: $0.continues)
            }
        }
    }

    private mutating func isCounted(_ kind: NodeCount.Kind) -> Bool {
        guard nodes > FactLines.named, kind.isTrouble else { return nodes > FactLines.named }
        namedTroubles += 1
        return namedTroubles > FactLines.named
    }

    private mutating func count(_ kind: NodeCount.Kind, _ entry: JournalEntry) -> [Output] {
        let index: Int
        if let found = counts.firstIndex(where: { $0.kind == kind }) {
            index = found
        } else {
            counts.append(NodeCount(kind: kind, at: entry.at))
            index = counts.count - 1
        }
        counts[index].add(entry)
        guard counts[index].isDue, let line = counts[index].unshown() else { return [] }
        return [output([line.text], at: entry.at, continues: line.continues)]
    }

    private func output(_ lines: [String], at instant: Instant, continues: Bool = false) -> Output {
        let time = "+\((instant - (began ?? instant)).seconds)  "
        let first = lines.first ?? ""
        return Output(
            lines: [time + printable(first)] + lines.dropFirst().map { "    " + printable($0) },
            continues: continues)
    }
}

/// How many nodes did the same in one step.
private struct NodeCount {
    enum Kind: Hashable {
        case surveyed, reached, readmitted, joined, failed, quarantined

        init?(_ event: RunEvent) {
            switch event {
            case .nodeSurveyed: self = .surveyed
            case .nodeReached: self = .reached
            case .nodeReadmitted: self = .readmitted
            case .nodeJoined: self = .joined
            case .nodeFailed: self = .failed
            case .nodeQuarantined: self = .quarantined
            default: return nil
            }
        }

        var isTrouble: Bool { self == .failed || self == .quarantined }
    }

    let kind: Kind
    private(set) var number = 0
    /// When the last of them did.
    private(set) var at: Instant
    private var shownNumber = 0
    private var shownAt: Instant
    private var releases: [String: Int] = [:]

    init(kind: Kind, at instant: Instant) {
        self.kind = kind
        at = instant
        shownAt = instant
    }

    var isDue: Bool { at - shownAt >= .seconds(1) }

    mutating func add(_ entry: JournalEntry) {
        number += 1
        at = entry.at
        if case .nodeSurveyed(let survey) = entry.event {
            releases[survey.active?.release.name.rawValue ?? "no release", default: 0] += 1
        }
    }

    /// The count so far; `nil` when it was told.
    mutating func unshown() -> (text: String, continues: Bool)? {
        guard number > shownNumber else { return nil }
        let continues = shownNumber > 0
        shownNumber = number
        shownAt = at
        return (text, continues)
    }

    private var text: String {
        let nodes = counted(number, "node")
        switch kind {
        case .surveyed:
            let most = releases.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            let names = most.prefix(5).map { "\($0.value) on \($0.key)" }.joined(separator: ", ")
            return "\(nodes) heard: \(names)" + (most.count > 5 ? ", …" : "")
        case .reached: return "\(nodes) reached"
        case .readmitted: return "\(nodes) take part again"
        case .joined: return "\(nodes) joined; quarantined until they are upgraded"
        case .failed: return "\(nodes) more failed"
        case .quarantined: return "\(nodes) more quarantined"
        }
    }
}
