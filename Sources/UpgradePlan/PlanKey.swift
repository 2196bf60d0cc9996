// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// One key of a plan: its name, what it takes, and what stands in its place when it is absent.
struct PlanKey: Sendable {
    enum Presence: Sendable {
        /// Must be given wherever its section is.
        case required
        /// As if it had been written like this.
        case standard(String)
        /// Absent means absent.
        case optional
    }

    indirect enum Kind: Sendable {
        case name
        case text(maximum: Int)
        case path
        case environment
        case word([String])
        case span(ClosedRange<Span>)
        case count(ClosedRange<Int>)
        case size
        case sizes(maximum: Int)
        case names(maximum: Int)
        case words([String])
        case labels(maximum: Int)
        case section([PlanKey])
        case sections([PlanKey], maximum: Int)
    }

    let name: String
    let kind: Kind
    let presence: Presence

    init(_ name: String, _ kind: Kind, _ presence: Presence) {
        self.name = name
        self.kind = kind
        self.presence = presence
    }

    /// The keys inside, for a section or a list of sections.
    var children: [PlanKey] {
        switch kind {
        case .section(let keys), .sections(let keys, _): keys
        default: []
        }
    }

    /// Type, range and default in one line, as `plans/reference.yaml` has it above the key.
    var annotation: String {
        switch presence {
        case .required: "[\(kind.description); required]"
        case .standard(let text): "[\(kind.description); default \(text)]"
        case .optional: "[\(kind.description); optional]"
        }
    }
}

extension PlanKey.Kind: CustomStringConvertible {
    var description: String {
        switch self {
        case .name: "name"
        case .text(let maximum): "text of at most \(maximum) characters"
        case .path: "path"
        case .environment: "env:NAME"
        case .word(let words): words.joined(separator: " | ")
        case .span(let range): "span from \(range.lowerBound) to \(range.upperBound)"
        case .count(let range): "number from \(range.lowerBound) to \(range.upperBound)"
        case .size: "number of nodes, or percentage"
        case .sizes: "number of nodes, percentage, or a list of them"
        case .names: "list of names"
        case .words: "list of phases"
        case .labels: "label: value, each a name"
        case .section: "section"
        case .sections: "list of sections"
        }
    }
}

/// What a key was found to have: the result of checking a value against its kind.
enum PlanValue {
    case text(String)
    case span(Span)
    case count(Int)
    case sizes([BatchSize])
    case list([Item])
    case labels([String: String])
    case sections([PlanValues])

    struct Item {
        var text: String
        var place: Diagnostic.Place
    }
}
