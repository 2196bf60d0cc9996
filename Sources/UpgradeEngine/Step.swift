// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
public import UpgradePlan

/// The stored name of one thing that has to be so before the next begins: `nodes:braced`, `nodes:upgraded:2`,
/// `database:migrate`, `database:migrate:1`, `approval:lift`, `hook:0`, `bake:1`.
///
/// What it means is said in one place, its ``StepDefinition``.
public struct Step: Hashable, Sendable {
    /// The kind, as it is stored: `nodes:braced`.
    public let word: String
    /// Which of its kind: a batch, a hook of the plan, or one of several databases, counted from 0.
    public let index: Int?

    init(_ word: String, _ index: Int?) {
        self.word = word
        self.index = index
    }

    public static func database(_ kind: DatabaseTask.Kind) -> Step {
        Step("database:\(kind.rawValue)", nil)
    }
}

extension Step: CustomStringConvertible, LosslessStringConvertible, Codable {
    public var description: String { index.map { "\(word):\($0)" } ?? word }

    /// - Returns: `nil` for a step that this program does not know.
    public init?(_ description: String) {
        if StepCatalog.kinds[description]?.isCounted == false {
            self.init(description, nil)
            return
        }
        guard let colon = description.lastIndex(of: ":") else { return nil }
        let word = String(description[..<colon])
        guard let kind = StepCatalog.kinds[word], kind.isCounted || kind.isOfEachDatabase,
            let index = Int(description[description.index(after: colon)...])
        else { return nil }
        self.init(word, index)
    }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let step = Step(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "no such step: \(text)"))
        }
        self = step
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Step {
    private var definition: (any StepDefinition)? {
        StepCatalog.definition(of: self, in: .preflight)
    }

    /// What the step does, for people.
    public var title: String { definition?.title ?? word }

    /// The same, with what the plan says of it, where the plan is known.
    public func title(in plan: Plan?) -> String {
        plan.flatMap { definition?.title(in: $0) } ?? title
    }

    /// Whether nodes or the database may be other than before once it has begun; what has only been looked at is not undone.
    public var touches: Bool { StepCatalog.kinds[word]?.touches ?? true }

    /// The batch that it upgrades, counted from 0.
    public var batchUpgraded: Int? { word == UpgradeStep.word ? index : nil }
}

extension DatabaseTask.Kind {
    /// What the task does, for people.
    public var title: String { Step.database(self).title }
}

extension DatabaseTaskFact {
    /// What the task does and in which database, for people.
    var title: String { kind.title + (database.map { " (\($0))" } ?? "") }
}
