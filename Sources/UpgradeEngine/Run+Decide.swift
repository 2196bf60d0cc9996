// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What a run hears.
public enum RunInput: Hashable, Sendable {
    /// A node has reported; what it says is among the observations.
    case status(NodeName)
    case databaseEnded(DatabaseTaskFact, DatabaseOutcome)
    /// Somebody has looked at the frozen standby.
    case standbySeen(StandbySight)
    case request(RequestVerb, RequestStamp)
    case demand(Demand, RequestStamp)
    /// It is later.
    case time
    /// A new leader has folded the run: what the last one had in flight is lost.
    case leadershipTaken
}

extension Run {
    /// The facts that follow from an input. Reads, may refuse, changes nothing.
    public func decide(
        _ input: RunInput, seeing observations: Observations, at now: Instant
    ) throws(Refusal) -> [RunEvent] {
        switch input {
        case .status(let node):
            if members[node] == nil { return isEnded ? [] : [.nodeJoined(NodeFact(node: node))] }
            let wasOff = members[node]?.isOff == true && !isEnded
            return (wasOff ? [.nodeHeardAgain(NodeFact(node: node))] : [])
                + lateFacts(node, observations)
                + statusFacts(node, observations, at: now)
        case .databaseEnded(let task, let outcome): return databaseFacts(task, outcome)
        case .standbySeen(let sight): return standbyFacts(sight)
        case .request(let verb, let stamp): return try requestFacts(verb, stamp)
        case .demand(let demand, let stamp):
            return try demandFacts(demand, stamp, observations, at: now)
        case .time: return timeFacts(observations, at: now)
        case .leadershipTaken:
            return database.inFlight.map { lost in
                .databaseTaskEnded(
                    DatabaseTaskEnded(
                        kind: lost.kind, attempt: lost.attempt, result: .lost,
                        database: lost.database))
            }
        }
    }
}
