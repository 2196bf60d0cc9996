// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import UpgradeEngine
internal import UpgradeModel

/// How what is watched is shown.
enum WatchStyle: Hashable, Sendable {
    /// A table that is drawn in place.
    case live
    /// One line a fact.
    case lines
    /// One JSON object a line.
    case json

    init(json: Bool, console: Console) {
        self = json ? .json : console.isTerminal ? .live : .lines
    }

    /// How many nodes of a run it shows: no terminal has more lines than that, and a program gets all.
    var nodes: Int? {
        switch self {
        case .live: 200
        case .lines: 0
        case .json: nil
        }
    }
}

/// Shows what is told of a run while it is watched.
actor WatchDisplay {
    private let style: WatchStyle
    private let console: Console
    private var frame = LiveFrame()
    private var view: ReceivedView?
    private var viewedAt = ContinuousClock.now
    private var facts = FactLines()
    private var recent: [String] = []
    /// What preflight warned of: shown while something can still be done.
    private var warnings: [String] = []
    private var lost: String?

    static let recentFacts = 6

    init(_ style: WatchStyle, console: Console) {
        self.style = style
        self.console = console
    }

    func handle(_ update: WatchUpdate) {
        if style == .json {
            // What the command ends with depends on the last one.
            if case .view(let view) = update { self.view = view }
            return console.line(WatchRecord.line(update))
        }
        switch update {
        case .view(let view):
            if style == .lines { tellWaits(view) }
            self.view = view
            viewedAt = .now
        case .fact(let fact):
            noteWarnings(fact)
            show(facts.add(fact))
        case .connectionLost(let failure):
            lost = "\(failure.message); trying again, the run does not need this"
            if style == .lines {
                console.line("sluice: \(printable(failure.message)); trying again")
            }
        case .connectionRestored:
            lost = nil
            if style == .lines { console.line("sluice: the coordinator is back") }
        }
    }

    /// Shows what is counted and was not told yet.
    func tellCounts() {
        if style != .json { show(facts.flush()) }
    }

    /// A line for whoever has come into the way since the last view.
    private func tellWaits(_ view: ReceivedView) {
        let known = self.view?.waits ?? []
        for wait in view.waits where !known.contains(wait) {
            console.line("sluice: \(printable(wait))")
        }
    }

    private func show(_ outputs: [FactLines.Output]) {
        for fact in outputs {
            if style == .lines {
                for line in fact.lines { console.line(line) }
                continue
            }
            if fact.continues, !recent.isEmpty { recent.removeLast() }
            recent += fact.lines.prefix(1)
            if recent.count > WatchDisplay.recentFacts { recent.removeFirst() }
        }
    }

    private func noteWarnings(_ fact: ReceivedFact) {
        guard case .known(let entry) = fact else { return }
        switch entry.event {
        case .nodeSurveyed(let survey):
            // What is so on many nodes is said once.
            for warning in (survey.warnings ?? []).map({ printable($0) })
            where !warnings.contains(where: { $0.hasSuffix(": " + warning) }) {
                warnings.append("\(survey.node): \(warning)")
            }
        case .databaseTaskEnded(let ended) where ended.kind == .preflight:
            let which = ended.database.map { "\($0): " } ?? ""
            warnings += (ended.report?.warnings ?? []).map { which + printable($0.description) }
        case .standbySeen(let seen):
            if let message = seen.message { warnings.append(printable(message)) }
        case .oldReleaseSeen(let seen): warnings.append(printable(EventWords.late(seen)))
        default: break
        }
    }

    /// Draws the table as it is now.
    func draw() {
        guard style == .live, let view else { return }
        let size = console.size()
        let facts = size.rows >= 20 ? [StyledLine("")] + recent.map { StyledLine($0, .faint) } : []
        let room = size.rows - 1 - facts.count
        let lines = screen(view, width: size.columns, height: room) + facts
        console.write(
            frame.update(lines.map { $0.fitted(to: size.columns).text(inColour: console.inColour) })
        )
    }

    private func screen(_ view: ReceivedView, width: Int, height: Int) -> [StyledLine] {
        guard case .known(let view) = view else {
            return Array(view.lines(width: width).prefix(height))
        }
        let elapsed = viewedAt.duration(to: .now)
        let age = view.summary.state.isEnded ? .zero : Span(elapsed)
        return RunScreen(view: view, age: age, lost: lost, warnings: warnings)
            .lines(width: width, height: height)
    }

    /// - Returns: what the command ends with; `nil` while there is more to watch.
    @discardableResult
    func end(_ state: RunState?) -> CommandExit? {
        tellCounts()
        if state != nil { draw() }
        console.write(frame.end())
        let leavesOut = view?.leavesOut == true
        guard let state, let exit = CommandExit(state, leavesOut: leavesOut) else { return nil }
        switch style {
        case .json:
            console.line(
                jsonLine(
                    WatchRecord.End(run: view?.run, state: state, exitCode: exit.rawValue)))
        case .lines where exit == .waiting || exit == .leftOut:
            // An end is a fact; that a run waits is said with what to do about it.
            console.line("sluice: \(state.title)\(view?.advice.map { ": " + printable($0) } ?? "")")
        default: break
        }
        return exit
    }
}

extension Span {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self.init(milliseconds: seconds * 1000 + attoseconds / 1_000_000_000_000_000)
    }
}

/// What `--json` writes while a run is watched.
enum WatchRecord {
    static func line(_ update: WatchUpdate) -> String {
        switch update {
        case .view(let view): jsonLine(View(view: view))
        case .fact(let entry): jsonLine(Fact(entry: entry))
        case .connectionLost(let failure):
            jsonLine(Connection(state: "lost", message: failure.message))
        case .connectionRestored: jsonLine(Connection(state: "restored", message: nil))
        }
    }

    struct View: Codable {
        var type = "view"
        var view: ReceivedView
    }

    struct Fact: Codable {
        var type = "fact"
        var entry: ReceivedFact
    }

    struct Connection: Codable {
        var type = "connection"
        var state: String
        var message: String?
    }

    struct Started: Codable {
        var type = "started"
        var run: RunIdentifier
    }

    struct End: Codable {
        var type = "ended"
        var run: RunIdentifier?
        var state: RunState
        var exitCode: Int32
    }
}
