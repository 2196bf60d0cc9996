// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// Nodes that serve another release than the plan expects.
///
/// The same words before a run, where it is a warning, and in preflight, which refuses.
public struct Drift: Hashable, Sendable {
    /// What each of them serves; `nil` for none.
    public var found: [NodeName: ReleaseName?]
    public var expected: ReleaseName

    public init(found: [NodeName: ReleaseName?], expected: ReleaseName) {
        self.found = found
        self.expected = expected
    }

    /// What is wrong with a node that serves this.
    public static func reason(found: ReleaseName?, expected: ReleaseName) -> String {
        "it serves \(found?.rawValue ?? "no release"), and the plan expects \(expected)"
    }

    /// What to do next.
    public var advice: String {
        let names = Listed.text(found.keys.sorted().map(\.rawValue), separator: ", ")
        let releases = Set(found.values)
        let served = releases.count == 1 ? releases.first.flatMap { $0 } : nil
        let other =
            served.map { "set release.expected to \($0), which is served" }
            ?? "correct release.expected"
        return "bring \(names) to \(expected) first, or \(other)"
    }
}

/// Names and reasons in one line, which has a limit: a fleet has more nodes than a line has room.
enum Listed {
    static let atMost = 8

    /// A line of names, and none of no names.
    static func line(_ what: String, _ names: [some SafeName]) -> [String] {
        names.isEmpty ? [] : ["\(what) \(names.map(\.rawValue).joined(separator: ", "))"]
    }

    static func text(_ items: [String], separator: String) -> String {
        let more = items.count - atMost
        guard more > 0 else { return items.joined(separator: separator) }
        return (items.prefix(atMost) + ["and \(more) more"]).joined(separator: separator)
    }
}
