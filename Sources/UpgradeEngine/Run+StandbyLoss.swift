// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
public import UpgradePlan

/// What is wrong with the frozen standby in the window.
public struct StandbyLoss: Hashable, Sendable {
    /// For people.
    public internal(set) var message: String
    /// It is not frozen any more, and stays no way back.
    public internal(set) var isThawed: Bool
    /// It answers again, and whoever was sent elsewhere stays there.
    public internal(set) var isOver = false
}

/// The frozen standby is lost, or costs more than it may: what becomes of those who read there, and of the run.
extension Run {
    /// Whether somebody has to look after the frozen standby: from the freeze until nobody goes back to it.
    public var watchesStandby: Bool {
        guard plan.frozenStandby != nil, direction == .forward, !isEnded, !isPastPointOfNoReturn,
            let current, let freeze = itinerary.firstIndex(where: { $0 is FreezeStep })
        else { return false }
        return current.index > freeze || current.index == freeze && current.isDatabaseDone
    }

    /// Whether what is seen of it is another thing than the run knows.
    public func isNews(_ sight: StandbySight) -> Bool { news(of: sight) != nil }

    private func news(of sight: StandbySight) -> StandbySeen? {
        guard watchesStandby else { return nil }
        let loss = database.standbyLoss
        switch sight {
        case .frozen:
            return loss?.isOver == false && loss?.isThawed == false
                ? StandbySeen(state: .frozen) : nil
        case .silent(let words):
            return loss?.isOver == false ? nil : StandbySeen(state: .silent, message: words)
        case .thawed(let words):
            return loss?.isThawed == true ? nil : StandbySeen(state: .thawed, message: words)
        case .trouble(let failure):
            return database.standbyTroubles.contains(failure.code)
                ? nil
                : StandbySeen(state: .trouble, code: failure.code, message: failure.message)
        }
    }

    /// What follows. While nothing has been migrated, turning back costs nothing; from then on the run goes on without it, for the
    /// standby may be started again, and those who read there are looked after by the plan's rule.
    func standbyFacts(_ sight: StandbySight) -> [RunEvent] {
        guard let seen = news(of: sight) else { return [] }
        let event = RunEvent.standbySeen(seen)
        guard isGoingOn else { return [event] }
        switch sight {
        case .frozen: return [event]
        case .silent(let words):
            return [event] + (isSchemaInDoubt ? [] : setback(words, advice: Run.startStandby))
        case .thawed(let words): return [event] + (isSchemaInDoubt ? [] : setback(words))
        case .trouble(let failure):
            return [event] + setback(failure.message, advice: failure.adviceForPeople)
        }
    }

    mutating func note(_ seen: StandbySeen) {
        switch seen.state {
        case .frozen where plan.readsWithoutStandby == .serve && isSchemaInDoubt:
            // They are served well where they are.
            database.standbyLoss?.isOver = true
        case .frozen: database.standbyLoss = nil
        case .silent, .thawed:
            database.standbyLosses += 1
            database.standbyLoss = StandbyLoss(
                message: seen.message ?? "", isThawed: seen.state == .thawed)
        case .trouble: if let code = seen.code { database.standbyTroubles.insert(code) }
        }
    }

    // MARK: The way back

    /// Whether the standby is the way back, and is not there.
    var isWayBackLost: Bool {
        database.standbyLoss?.isOver == false && !database.migrated.isEmpty && isSchemaOther
    }

    /// What a person has to know about a run that does not turn back by itself because of that.
    var adviceWithoutWayBack: String {
        let forward = "put right what failed, then `sluice retry \(identifier)`"
        if database.standbyLoss?.isThawed == true {
            return "the standby is no way back any more: \(forward)"
        }
        return
            "the standby is the way back, and it does not answer: start it, it is frozen still; then `sluice rollback \(identifier)` undoes the run; "
            + "or \(forward)"
    }

    /// What becomes of those who read there, for people; `nil` where it is not lost.
    var standbyNote: String? {
        guard let loss = database.standbyLoss, !loss.isOver, watchesStandby else { return nil }
        return "\(loss.message); \(plan.fateOfReaders)"
    }

    var adviceOfLoss: String? {
        standbyNote == nil || database.standbyLoss?.isThawed == true ? nil : Run.startStandby
    }

    private static let startStandby =
        "start the standby, and see in its log why it ended; it is frozen still"

    // MARK: Those who read there

    /// What a node serves from the freeze on until it serves the new release.
    func askToRead(_ directive: inout Directive, from reader: ReleaseReference) {
        directive.active = ActivationGoal(release: reader, identity: readingActivation)
        directive.vacated = reader.on(nil)
        directive.health = standbyHealth(of: reader)
        if let hold = switchHold {
            directive.reads = ReadAdmission(hold: hold, until: readingActivation)
        }
        guard let loss = database.standbyLoss else { return }
        switch plan.readsWithoutStandby {
        case .standby: break
        case .serve:
            directive.active = ActivationGoal(release: reader.on(nil), identity: leavingActivation)
            directive.vacated = nil
            directive.health = primaryHealth(of: reader)
            if directive.reads.hold != nil { directive.reads.until = leavingActivation }
        case .hold(let duration, let atMost):
            // A node whose reader answers lets them go: it may be the coordinator that is cut off.
            directive.health = lossHealth(of: reader)
            directive.reads = ReadAdmission(
                hold: HoldLimits(
                    atMost: atMost, duration: duration, retryAfter: plan.writes.retryAfter),
                until: loss.isThawed ? forwardActivation : readingActivation)
        }
    }

    /// Where something else is asked for its health, nobody knows whether the reader answers.
    func holdUntilFlip(_ directive: inout Directive, of seat: Seat) {
        guard database.standbyLoss != nil, directive.reads.until == readingActivation,
            let reader = reader(of: seat.node),
            directive.health?.identity != lossHealth(of: reader).identity
        else { return }
        directive.reads.until = forwardActivation
    }

    /// The same on the way back, until it is known who is served instead.
    func askToStay(_ directive: inout Directive, with reader: ReleaseReference) {
        askToRead(&directive, from: reader)
        directive.health = nil
        directive.vacated = nil
        if directive.reads.hold != nil { directive.reads.until = backActivation }
    }
}

extension Plan {
    /// What becomes of those who read from the standby when it is lost, for people.
    public var fateOfReaders: String {
        if case .hold(let span, let count) = readsWithoutStandby {
            return
                "reads are held, for \(span) at most and \(count) a node, until it answers, or the release that is served next"
        }
        return "the old release reads from the primary, with the schema as it is there"
    }
}
