// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import UpgradeEngine
internal import UpgradeModel

/// A fact of a run as the coordinator tells it. One that this program does not know is of a newer coordinator: it is shown by its
/// word, handed on to programs as it came, and ends nothing.
enum ReceivedFact: Hashable, Sendable, Codable {
    case known(JournalEntry)
    case newer(NewerFact)

    var version: Int64 {
        switch self {
        case .known(let entry): entry.version
        case .newer(let fact): fact.version
        }
    }

    init(from decoder: any Decoder) throws {
        if let entry = try? JournalEntry(from: decoder) {
            self = .known(entry)
        } else {
            self = .newer(try NewerFact(from: decoder))
        }
    }

    func encode(to encoder: any Encoder) throws {
        switch self {
        case .known(let entry): try entry.encode(to: encoder)
        case .newer(let fact): try fact.raw.encode(to: encoder)
        }
    }
}

/// What every fact has, whatever else it says.
struct NewerFact: Hashable, Sendable, Decodable {
    var version: Int64
    var at: Instant
    /// The event's word, such as `hook-paused`.
    var type: String
    var raw: JSONValue

    private enum Keys: String, CodingKey { case version, at, event }
    private struct Event: Decodable { var type: String }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        version = try container.decode(Int64.self, forKey: .version)
        at = try container.decode(Instant.self, forKey: .at)
        type = try container.decode(Event.self, forKey: .event).type
        raw = try JSONValue(from: decoder)
    }
}

/// A journal, which may have facts of a newer coordinator.
struct ReceivedJournal: Decodable {
    var run: RunIdentifier
    var entries: [ReceivedFact]

    /// What this program understands of it.
    var understood: RunJournal {
        RunJournal(
            run: run,
            entries: entries.compactMap { if case .known(let entry) = $0 { entry } else { nil } })
    }

    /// The words of the others, each once.
    var newer: [String] {
        Set(entries.compactMap { if case .newer(let fact) = $0 { fact.type } else { nil } })
            .sorted()
    }
}

/// A run as the coordinator shows it. Of a view that this program does not understand, the parts that every version has.
enum ReceivedView: Sendable, Codable {
    case known(RunView)
    case newer(NewerView)

    init(from decoder: any Decoder) throws {
        if let view = try? RunView(from: decoder) {
            self = .known(view)
        } else {
            self = .newer(try NewerView(from: decoder))
        }
    }

    var run: RunIdentifier {
        switch self {
        case .known(let view): view.summary.run
        case .newer(let view): view.summary.run
        }
    }

    var version: Int64 {
        switch self {
        case .known(let view): view.version
        case .newer(let view): view.version
        }
    }

    /// Whom a migration waits for.
    var waits: [String] {
        switch self {
        case .known(let view): view.waits ?? []
        case .newer: []
        }
    }

    /// Whether databases are left out of the run.
    var leavesOut: Bool {
        switch self {
        case .known(let view): view.leftOut?.isEmpty == false
        case .newer: false
        }
    }

    /// The state and the phase, for people.
    var standing: (state: String, phase: String) {
        switch self {
        case .known(let view): (view.summary.state.title, view.summary.phase.rawValue)
        case .newer(let view): (state?.title ?? view.summary.state, view.summary.phase)
        }
    }

    var advice: String? {
        switch self {
        case .known(let view): view.advice
        case .newer(let view): view.advice
        }
    }

    /// `nil` when the run stands in a way that this program has no word for.
    var state: RunState? {
        switch self {
        case .known(let view): view.summary.state
        case .newer(let view): RunState(rawValue: view.summary.state)
        }
    }
}

extension ReceivedView {
    /// To a program, a view is what the coordinator said.
    func encode(to encoder: any Encoder) throws {
        switch self {
        case .known(let view): try view.encode(to: encoder)
        case .newer(let view): try view.raw.encode(to: encoder)
        }
    }
}

/// What every view has, whatever else it says.
struct NewerView: Sendable, Decodable {
    struct Summary: Sendable, Decodable {
        var run: RunIdentifier
        var state: String
        var phase: String
    }

    var summary: Summary
    var version: Int64
    var step: String?
    var reason: String?
    var advice: String?
    var raw: JSONValue

    private enum Keys: String, CodingKey { case summary, version, step, reason, advice }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        summary = try container.decode(Summary.self, forKey: .summary)
        version = try container.decode(Int64.self, forKey: .version)
        step = try container.decodeIfPresent(String.self, forKey: .step)
        reason = try container.decodeIfPresent(String.self, forKey: .reason)
        advice = try container.decodeIfPresent(String.self, forKey: .advice)
        raw = try JSONValue(from: decoder)
    }
}
