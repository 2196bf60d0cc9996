// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// All that follows from the inputs of one turn, and the order in which it is done.
///
/// Whoever interprets it does one effect after the other. It may die between any two: what is not stored was never true, and
/// what is stored and not told is told by the next leader.
public struct Turn: Sendable {
    public enum Effect: Sendable {
        /// In one transaction. When that fails, nothing that follows is done, and the process ends.
        case store([RunAppend])
        /// From here on it is what everybody is told.
        case publish([Ready])
        /// Wakes the nodes whose directives are others now, and those who wait for an answer or watch a run.
        case speak(directives: [NodeName: Directive], changed: Set<RunIdentifier>)
        /// Begins the tasks that the stored runs ask for, and ends those that they no longer want.
        case serveDatabases(of: Set<RunIdentifier>)
    }

    private var readies: [Ready] = []
    public private(set) var appends: [RunAppend] = []
    private var directives: [NodeName: Directive] = [:]
    private var changed: Set<RunIdentifier> = []

    public init() {}

    public mutating func add(_ ready: Ready, after input: CoreInput) {
        readies.append(ready)
        for append in ready.appends { add(append) }
        directives.merge(ready.directives) { $1 }
        changed.formUnion(ready.changed)
        changed.formUnion(ready.appends.map(\.run))
        // Also when it changed nothing: the run may want its next task.
        if case .databaseEnded(let run, _, _) = input { changed.insert(run) }
    }

    /// What a thousand statuses lead to in one turn is one append of a thousand events.
    private mutating func add(_ append: RunAppend) {
        guard append.claim == nil,
            let index = appends.lastIndex(where: { $0.run == append.run })
        else { return appends.append(append) }
        appends[index].events += append.events
    }

    /// Store, then speak.
    public var effects: [Effect] {
        [
            .store(appends), .publish(readies), .speak(directives: directives, changed: changed),
            .serveDatabases(of: changed),
        ]
    }
}
