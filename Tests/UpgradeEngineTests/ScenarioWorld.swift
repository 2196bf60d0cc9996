// SPDX-License-Identifier: Apache-2.0

import RunStore
import Testing
import UpgradeModel
import UpgradePlan

@testable import UpgradeEngine

/// A coordinator's core with fake nodes and a fake database, in virtual time; writes down all that happens.
struct ScenarioWorld {
    var core: CoordinatorCore
    /// What is stored, as everybody else sees it.
    private var published: Published
    var nodes: [NodeName: FakeNode] = [:]
    var database = FakeDatabase()
    /// Databases besides that one, which is then called `default`.
    var others: [DatabaseName: FakeDatabase] = [:]
    private(set) var now = Instant(milliseconds: 1_000_000)
    private(set) var transcript: [String] = []
    private(set) var violations: [String] = []
    private(set) var journal: [RecordedEvent] = []
    /// What happens once when a phase has begun, before anything else.
    private var triggers:
        [(phase: Phase, direction: Direction, act: (inout ScenarioWorld) -> Void)] = []
    private var pending: [Message] = []
    private var started: Set<DatabaseTaskFact> = []
    private var cancelled: Set<DatabaseTaskFact> = []
    private var wakeAt: Instant?
    private var requests = 0
    /// What goes wrong at random; `nil` in a told scenario.
    var disturbance: Disturbance?
    /// From and until how many events in the journal the standby does not answer.
    var standbyOutage: Range<Int>?
    /// A task that is told to end does so only at `endCancelled`.
    var holdsCancellations = false
    private var stale: [NodeName: FakeNode] = [:]

    enum Message {
        case directive(NodeName)
        case databaseEnded(DatabaseTaskFact, DatabaseOutcome)
    }

    static let run = RunIdentifier(unchecked: "r1")
    static let old = reference("v1")
    static let new = reference("v2")

    static func reference(_ name: String) -> ReleaseReference {
        ReleaseReference(
            name: ReleaseName(unchecked: name),
            manifest: Digest(bytes: (0..<32).map { _ in name.utf8.last! }))
    }

    /// The leader dies after so many effects of a turn more; `nil`: it lives.
    private var effectsLeft: Int?

    /// - Parameter isReal: nodes with the real engine, which can be killed, instead of such as obey at once.
    init(nodes count: Int = 3, isReal: Bool = false, others: [String] = []) {
        for name in others { self.others[DatabaseName(unchecked: name)] = FakeDatabase() }
        let names = (1...count).map { NodeName(unchecked: "web-\($0)") }
        let inventory = names.map { NodeRecord(name: $0, labels: ["role": "web"]) }
        core = CoordinatorCore(epoch: Epoch(rawValue: 1), inventory: inventory, runs: [])
        published = Published(core)
        for name in names {
            nodes[name] = FakeNode(name, serves: ScenarioWorld.old)
            guard isReal else { continue }
            nodes[name]?.real = SimulatedNode(name, serves: ScenarioWorld.old, at: now)
        }
    }

    mutating func on(
        _ phase: Phase, _ direction: Direction = .forward,
        _ act: @escaping (inout ScenarioWorld) -> Void
    ) {
        triggers.append((phase, direction, act))
    }

    var theRun: Run { core.run(ScenarioWorld.run)! }

    // MARK: Inputs

    mutating func start(_ plan: String) {
        for name in nodes.keys.sorted() { pending.append(.directive(name)) }
        put(
            .start(
                RunCreated(
                    run: ScenarioWorld.run, fleet: FleetName(unchecked: "guestbook"), plan: plan,
                    planFile: "plan.yaml", digest: ScenarioWorld.new.manifest,
                    release: ScenarioWorld.new,
                    migrations: migrations, nodes: nodes.keys.sorted(),
                    by: OperatorName(unchecked: "alice"),
                    request: "q0")))
    }

    mutating func request(_ verb: RequestVerb) {
        requests += 1
        put(
            .request(
                ScenarioWorld.run, verb,
                RequestStamp(
                    request: "q\(requests)", by: OperatorName(unchecked: "alice"), reason: nil)))
    }

    static let migrations = ["0003_split_name.up.sql", "0003_split_name.down.sql"].map {
        MigrationReference(name: $0, digest: new.manifest)
    }

    /// The same files for each database.
    private var migrations: [MigrationReference] {
        if others.isEmpty { return ScenarioWorld.migrations }
        return ([.default] + others.keys.sorted()).flatMap { name in
            ScenarioWorld.migrations.map {
                MigrationReference(name: $0.name, digest: $0.digest, database: name)
            }
        }
    }

    private var databases: [FakeDatabase] {
        [database] + others.sorted { $0.key < $1.key }.map(\.value)
    }
    /// All of them by their names.
    private var named: [(name: DatabaseName, database: FakeDatabase)] {
        [(.default, database)] + others.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
    /// Whether a fence is up for which the gates stay closed: not that of what is left out.
    private var isFenced: Bool { named.contains { $0.database.isFenced && !isLeftOut($0.name) } }

    /// Whether a database is left out of the run, or was of an earlier one and is not taken in yet.
    private func isLeftOut(_ name: DatabaseName) -> Bool {
        let found = others[name] ?? database
        return theRun.reasonLeftOut(name) != nil || found.leftOutBy != nil
    }

    /// - Parameter label: `nil` where there is one.
    private mutating func perform(
        _ task: DatabaseTask, in label: DatabaseName?
    ) -> DatabaseOutcome? {
        guard let label, label != .default else { return database.perform(task) }
        return others[label]?.perform(task)
    }

    mutating func demand(_ demand: Demand) {
        requests += 1
        put(
            .demand(
                ScenarioWorld.run, demand,
                RequestStamp(
                    request: "q\(requests)", by: OperatorName(unchecked: "alice"), reason: nil)))
    }

    mutating func join(_ name: String) {
        let name = NodeName(unchecked: name)
        nodes[name] = FakeNode(name, serves: ScenarioWorld.old)
        write("+ \(name) appears")
        put(
            .inventory(
                nodes.keys.sorted().map { NodeRecord(name: $0, labels: ["role": "web"]) }))
        let status = nodes[name]!.status(at: now)
        put(.status(name, status))
    }

    /// A new leader: the core folded anew from the journal under the next epoch.
    mutating func restart() {
        let epoch = core.epoch.next
        write("+ a new leader, epoch \(epoch.rawValue)")
        let folded = CoordinatorCore.fold(journal)
        core = CoordinatorCore(
            epoch: epoch, inventory: Array(core.inventory.values), runs: folded.map { [$0] } ?? [])
        published = Published(core)
        started = []
        cancelled = []
        pending = nodes.keys.sorted().map(Message.directive)
        put(.leadershipTaken)
    }

    /// The nodes that have done an action, or have begun it.
    func done(by action: String) -> [String] {
        nodes.values.filter { $0.done.contains(action) }.map(\.name.rawValue).sorted()
    }

    mutating func pass(_ span: Span) { now = now + span }

    mutating func note(violation: String) {
        if violations.last != violation { violations.append(violation) }
    }

    mutating func note(_ line: String) { write("+ \(line)") }

    // MARK: Running

    /// Goes on until nothing is left to do and nothing will come by time.
    ///
    /// - Parameter lost: stop as soon as this node is lost and every message before that has arrived.
    mutating func settle(
        steps limit: Int = 4000, untilLost lost: NodeName? = nil, untilBegun step: Step? = nil
    ) {
        for _ in 0..<limit {
            if let step, theRun.begun.contains(step) { return }
            if let lost, pending.isEmpty, nodes[lost]?.isLost == true { return }
            if !pending.isEmpty {
                deliver(pending.remove(at: disturbance?.pick(of: pending.count) ?? 0))
                disturb()
            } else if watchStandby() {
                continue
            } else if heartbeatMatters() {
                continue
            } else if let wake = wakeAt, !theRun.isEnded {
                now = max(now, wake)
                for name in nodes.keys { nodes[name]?.pass(to: now) }
                runTools()
                checkWriters()
                write("@ \(now.milliseconds - 1_000_000) ms")
                put(.time)
            } else {
                break
            }
        }
        if !pending.isEmpty { violations.append("not settled after \(limit) steps") }
        checkEnd()
    }

    /// Brings everybody what is under way. No time passes, so what hangs goes on hanging.
    mutating func settleAtOnce() {
        while !pending.isEmpty {
            deliver(pending.remove(at: disturbance?.pick(of: pending.count) ?? 0))
            disturb()
        }
    }

    /// Where messages get lost, every node asks again and reports in the end. - Returns: whether anything came of it.
    private mutating func heartbeatMatters() -> Bool {
        guard disturbance != nil, !theRun.isEnded else { return false }
        let before = journal.count
        for name in nodes.keys.sorted() { deliver(.directive(name)) }
        return journal.count != before || !pending.isEmpty
    }

    /// No fault from here on, and every node is back.
    mutating func endDisturbance() {
        disturbance?.end()
        standbyOutage = nil
        if database.standby?.isLost == true { startStandby() }
        for name in nodes.keys { nodes[name]?.isLost = false }
    }

    private mutating func disturb() {
        outage()
        guard var source = disturbance else { return }
        let disturbed = source.next(nodes: nodes.keys.sorted())
        disturbance = source
        switch disturbed {
        case nil: break
        case .loseMessage:
            if !pending.isEmpty, case .directive = pending[0] { pending.removeFirst() }
        case .repeatMessage:
            if let first = pending.first, case .directive = first { pending.append(first) }
        case .newLeader: restart()
        case .nodeLost(let name): nodes[name]?.isLost = true
        case .nodesBack: for name in nodes.keys { nodes[name]?.isLost = false }
        case .databaseFails(let kind):
            // Of several, one or the other.
            let names = others.keys.sorted()
            let chosen = journal.count % (1 + names.count)
            if chosen == 0 {
                database.failing[kind] = 1
            } else {
                others[names[chosen - 1]]?.failing[kind] = 1
            }
        case .request(let verb): request(verb)
        case .staleStatus(let name):
            if var copy = stale[name] { put(.status(name, copy.status(at: now))) }
            stale[name] = nodes[name]
        case .agentDies(let name, let effects): nodes[name]?.real?.effectsLeft = effects
        case .leaderDies(let effects): effectsLeft = effects
        case .toolFails(let behaviour):
            for name in nodes.keys { nodes[name]?.real?.tools.append(behaviour) }
        }
    }

    /// Migration tools that nodes have begun do in the database what they do.
    private mutating func runTools() {
        for name in nodes.keys.sorted() {
            for begun in nodes[name]?.takeTools() ?? [] {
                write("    \(name): the tool \(begun.task.name) \(begun.behaviour)")
                let undoes = begun.task.name.hasPrefix("migrate-back")
                if let unfenced = begun.task.tool?.unfenced {
                    run(begun, unfenced, undoes: undoes, on: name)
                    continue
                }
                let wrong = change(begun.task.tool?.database) {
                    $0.tool.run(begun, undoes: undoes)
                }
                if let wrong { violations.append("\(wrong) on \(name)") }
                if databases.count(where: { $0.tool.pass == begun.digest }) > 1 {
                    violations.append("the pass of \(begun.task.name) opens two databases")
                }
                if !undoes { checkClosed(before: "the tool runs") }
            }
        }
        checkWriters()
    }

    /// The database that a tool was told.
    private mutating func change<Value>(
        _ name: DatabaseName?, _ act: (inout FakeDatabase) -> Value
    ) -> Value {
        guard let name, var other = others[name] else { return act(&database) }
        defer { others[name] = other }
        return act(&other)
    }

    /// A tool does its work, or says what it would do, where no fence is up.
    private mutating func run(
        _ begun: ToolBegun, _ unfenced: ToolRun.Unfenced, undoes: Bool, on name: NodeName
    ) {
        if unfenced == .preview { return }
        let own = begun.task.tool?.database.flatMap { others[$0] } ?? database
        if own.isFenced { violations.append("\(begun.task.name) runs behind the fence") }
        let wrong: String? = change(begun.task.tool?.database) { database in
            if undoes {
                database.tool.early.undo(begun.behaviour)
                return nil
            }
            return begun.task.name == "migrate-early"
                ? database.tool.early.run(begun.behaviour) : database.tool.late.run(begun.behaviour)
        }
        if let wrong { violations.append("\(begun.task.name) \(wrong) on \(name)") }
    }

    private mutating func checkClosed(before what: String) {
        if databases.contains(where: { !$0.isFenced }) {
            violations.append("\(what) without a fence")
        }
        for name in theRun.members.keys.sorted()
        where nodes[name]?.directive?.lease.onExpiry != .keep || nodes[name]?.isGateOpen != false {
            if isOff(name) { continue }
            violations.append("\(what) before \(name) keeps its gate closed")
        }
    }

    private mutating func deliver(_ message: Message) {
        switch message {
        case .directive(let name):
            guard var node = nodes[name], !node.isLost, let directive = core.directives[name] else {
                return
            }
            node.take(directive, at: now)
            let status = node.status(at: now)
            nodes[name] = node
            runTools()
            put(.status(name, status))
        case .databaseEnded(let task, let outcome):
            started.remove(task)
            put(.databaseEnded(ScenarioWorld.run, task, outcome))
        }
    }

    mutating func put(_ input: CoreInput) {
        do {
            var turn = Turn()
            let ready = try core.step(input, at: now)
            turn.add(ready, after: input)
            wakeAt = ready.wakeAt
            checkDirectives()
            interpret(turn)
        } catch {
            write("  refused: \(error.message)")
        }
    }

    private mutating func interpret(_ turn: Turn) {
        for effect in turn.effects {
            if effectsLeft == 0 {
                effectsLeft = nil
                return restart()
            }
            effectsLeft = effectsLeft.map { $0 - 1 }
            switch effect {
            case .store(let appends): store(appends)
            case .publish(let readies): for ready in readies { published.apply(ready) }
            case .speak(let directives, _): speak(directives)
            case .serveDatabases: runDatabase()
            }
        }
        let begun = turn.appends.flatMap(\.events).compactMap { event -> StepBegan? in
            if case .stepBegan(let began) = event { began } else { nil }
        }
        fire(begun)
        checkAdvice()
    }

    private mutating func store(_ appends: [RunAppend]) {
        for append in appends {
            for event in append.events {
                journal.append(RecordedEvent(at: append.at, epoch: append.epoch, event: event))
                write("  \(ScenarioWorld.describe(event))")
            }
        }
    }

    private mutating func speak(_ directives: [NodeName: Directive]) {
        for (name, directive) in directives.sorted(by: { $0.key < $1.key }) {
            write("    \(name): \(ScenarioWorld.describe(directive))")
            if directive.writes.isOpen, isFenced, nodes[name]?.isLost == false,
                directive.run != nil, database.standby?.isPrimary != true
            {
                violations.append("\(name) opens while the fence is up")
            }
            let starts = directive.tasks.contains {
                $0.identity.rawValue.contains("/nodes.started/")
            }
            if starts, named.contains(where: { !$0.database.isMigrated && !isLeftOut($0.name) }),
                theRun.direction == .forward
            {
                violations.append("\(name) is told to start on the old schema")
            }
            pending.append(.directive(name))
        }
    }

    private mutating func fire(_ begun: [StepBegan]) {
        for began in begun {
            while let index = triggers.firstIndex(where: {
                $0.phase == began.phase && $0.direction == began.direction
            }) {
                let trigger = triggers.remove(at: index)
                trigger.act(&self)
            }
        }
    }

    private mutating func runDatabase() {
        for command in published.run(ScenarioWorld.run)?.databaseCommands ?? [] { run(command) }
    }

    private mutating func run(_ command: DatabaseCommand) {
        switch command {
        case .perform(let task):
            guard started.insert(task).inserted else { return }
            check(task)
            let whole = theRun.task(task, epoch: core.epoch, at: now)
            if let outcome = perform(whole, in: task.database) {
                pending.append(.databaseEnded(task, outcome))
            }
            checkWriters()
        case .cancel(let task):
            guard cancelled.insert(task).inserted else { return }
            write("    \(EventWords.database(task.database)): cancel \(task.kind.rawValue)")
            if !holdsCancellations { endCancelled(task) }
        }
    }

    /// The task that was told to end has ended, so or otherwise.
    mutating func endCancelled(
        as outcome: DatabaseOutcome = .failed(DatabaseFailure(code: "cancelled", "cancelled"))
    ) {
        for task in cancelled { endCancelled(task, as: outcome) }
    }

    private mutating func endCancelled(
        _ task: DatabaseTaskFact,
        as outcome: DatabaseOutcome = .failed(DatabaseFailure(code: "cancelled", "cancelled"))
    ) {
        pending.append(.databaseEnded(task, outcome))
    }

    /// A node says what it is, unasked.
    mutating func report(_ name: NodeName) {
        guard let status = nodes[name]?.status(at: now) else { return }
        put(.status(name, status))
    }

    /// A node asks for its directive, as it does all the time.
    mutating func tellAgain(_ name: NodeName) { pending.append(.directive(name)) }

    // MARK: Checking

    /// Whoever is not told anew is asked for what it was told last.
    private mutating func checkDirectives() {
        guard let run = core.run(ScenarioWorld.run) else { return }
        for name in run.members.keys.sorted() {
            guard let told = core.directives[name], var asked = run.directive(for: name) else {
                continue
            }
            asked.epoch = told.epoch
            if !told.asksTheSame(as: asked) {
                violations.append("\(name) was not told what it is asked for")
            }
        }
    }

    private mutating func check(_ task: DatabaseTaskFact) {
        write(
            "    \(EventWords.database(task.database)): \(task.kind.rawValue) \(task.attempt)")
        if task.kind == .lowerFence, theRun.direction == .forward {
            for name in theRun.members.keys.sorted()
            where nodes[name]?.isSilent(ScenarioWorld.old) != true && !isOff(name) {
                violations.append("lifts before the old release of \(name) is silent")
            }
        }
        if task.kind == .lowerFence, theRun.direction == .back, theRun.begun.contains(.started) {
            for name in theRun.participants
            where nodes[name]?.isSilent(ScenarioWorld.new) != true {
                violations.append("lowers before the new release of \(name) is halted")
            }
        }
        if task.kind == .lowerFence, databases.contains(where: { $0.tool.pass != nil }) {
            violations.append("lowers the fence with a pass open")
        }
        if task.kind == .lowerFence, theRun.direction == .back,
            databases.contains(where: \.isMigrated)
        {
            violations.append("lowers a fence with a database migrated")
        }
        if task.kind == .promoteStandby { checkReadersAreOnStandby() }
        if task.kind == .promoteBehindFence, !database.isFenced {
            violations.append("promotes a standby of a primary without a fence")
        }
        if task.kind == .migrate {
            checkClosed(before: "migrates")
            if !databases.allSatisfy({ $0.performed.contains { $0.kind == .census } }) {
                violations.append("migrates before every census")
            }
        }
    }

    /// A person has vouched for it.
    private func isOff(_ name: NodeName) -> Bool { theRun.members[name]?.isOff == true }

    /// Every command that the run advises is accepted as it stands.
    private mutating func checkAdvice() {
        guard let run = core.run(ScenarioWorld.run), !run.isEnded, let advice = run.next else {
            return
        }
        for command in advice.split(separator: "`").filter({ $0.hasPrefix("sluice ") }) {
            let filled = command.replacing("VERSION", with: "0003")
                .replacing("FILE", with: "0003_split_name.down.sql")
            let words = filled.split(separator: " ").dropFirst().map(String.init)
            guard let input = ScenarioWorld.input(words) else { continue }
            do {
                let events = try run.decide(input, seeing: core.observations, at: now)
                if events.isEmpty { violations.append("nothing follows from advice: \(command)") }
            } catch {
                // It was silent when the run stopped, and has been heard since.
                if case .nodeIsHeard = error { continue }
                violations.append("advises \(command), and refuses it: \(error.message)")
            }
        }
    }

    private static func input(_ words: [String]) -> RunInput? {
        let stamp = RequestStamp(
            request: "advice", by: OperatorName(unchecked: "bob"), reason: "advised")
        func value(_ option: String) -> String? {
            words.firstIndex(of: option).map { words[$0 + 1] }
        }
        switch words.first {
        case "retry":
            if words.contains("--forward") { return .demand(.goForward, stamp) }
            if let file = value("--down") {
                return .demand(
                    .mend([MigrationReference(name: file, digest: new.manifest)]), stamp)
            }
        case "resolve":
            if words.contains("--accept-schema") { return .demand(.acceptSchema, stamp) }
            if let node = value("--off") {
                return .demand(.takeOff(NodeName(unchecked: node)), stamp)
            }
            for state in [MigrationClaim.State.done, .undone] {
                if let version = value("--\(state.rawValue)") {
                    return .demand(.claim([MigrationClaim(version: version, state: state)]), stamp)
                }
            }
        default: break
        }
        return words.first.flatMap { RequestVerb(rawValue: $0) }.map { .request($0, stamp) }
    }

    /// Nobody writes with the old release on the new schema, heard or not.
    private mutating func checkWriters() {
        checkStandby()
        checkLeftOut()
        let isOpen = databases.contains { database in
            (database.isMigrated || database.tool.level > 0) && !database.isFenced
        }
        guard isOpen,
            let run = core.run(ScenarioWorld.run)
        else { return }
        for name in run.members.keys.sorted() {
            guard let node = nodes[name], node.isGateOpen, !isOff(name),
                node.active.release == ScenarioWorld.old
            else { continue }
            violations.append("\(name) writes with the old release on the new schema")
        }
    }

    /// The fence of what is left out never comes down for a release that does not know its schema, and nobody is served there.
    private mutating func checkLeftOut() {
        guard let run = core.run(ScenarioWorld.run) else { return }
        let isServed = run.asking.contains { $0 is UpgradeStep }
        for (name, database) in named where !database.isFenced {
            let isOfBefore = database.leftOutBy != nil && !database.isMigratedAnyhow
            if isOfBefore || (run.reasonLeftOut(name) != nil && isServed) {
                note(violation: "the fence of \(name) is down, which is left out")
            }
        }
        guard run.direction == .forward, isServed else { return }
        for (name, node) in nodes.sorted(by: { $0.key < $1.key })
        where node.active.release == ScenarioWorld.new && !isOff(name)
            && !node.closedSites.isSuperset(of: run.leftOut.keys)
        {
            note(violation: "\(name) serves the new release with an open site that is left out")
        }
    }

    private mutating func checkEnd() {
        let run = theRun
        guard run.isEnded else { return }
        let isDone = run.state == .done
        if database.standby?.isPrimary == true {
            checkEndOfPromotion()
        } else {
            // Of a run that has ended before it looked at the database, nobody expects a word.
            let before = named.filter { !isDone && $0.database.leftOutBy != nil }.map(\.name)
            let left = Set(run.databasesLeftOut.map(\.database) + before)
            for (name, database) in named {
                if left.contains(name) {
                    if !database.isFenced { violations.append("\(name) ended without its fence") }
                    if !database.isKept { violations.append("nobody may take \(name) over") }
                } else {
                    checkEnd(of: database, isDone)
                }
            }
            for planned in run.plan.toolDatabases where !left.contains(planned.name) {
                checkEndOfTool(of: planned, isDone)
            }
            for (name, node) in nodes.sorted(by: { $0.key < $1.key })
            where !node.isLost && run.members[name]?.quarantine == nil && node.closedSites != left {
                violations.append("\(name) ended with the wrong sites closed")
            }
        }
        for (name, node) in nodes.sorted(by: { $0.key < $1.key }) where !node.isLost {
            let member = run.members[name]
            guard let directive = core.directives[name], member?.quarantine == nil else { continue }
            if !directive.writes.isOpen { violations.append("\(name) ended closed") }
            if directive.reads != .pass { violations.append("\(name) ended with reads held") }
            if directive.service != .in { violations.append("\(name) ended out of service") }
            let isPromoted = database.standby?.isPrimary == true
            let wanted =
                isDone ? ScenarioWorld.new : ScenarioWorld.old.on(isPromoted ? .standby : nil)
            if node.active.release != wanted {
                violations.append("\(name) serves \(node.active.release.name)")
            }
            if node.isSilent(wanted) { violations.append("\(name) serves a frozen release") }
        }
    }

    private mutating func checkEnd(of database: FakeDatabase, _ isDone: Bool) {
        if database.isFenced { violations.append("ended with the fence up") }
        if database.isMigrated != isDone { violations.append("ended with the wrong schema") }
        if database.isExpanded != isDone { violations.append("ended with the wrong expansion") }
        if database.standby?.isFrozen == true { violations.append("ended with a frozen standby") }
        if isDone, database.migrations != 1 {
            violations.append("migrated \(database.migrations) times")
        }
    }

    /// What a tool has done is whole or gone; what it has done outside the window, unless a person lets it stay as it is.
    private mutating func checkEndOfTool(of planned: Plan.Database, _ isDone: Bool) {
        guard let wanted = planned.tool else { return }
        let tool = (others[planned.name] ?? database).tool
        if tool.level != (isDone ? 2 : 0) {
            violations.append("ended with the tool's work at \(tool.level)")
        }
        if tool.pass != nil { violations.append("ended with a pass open") }
        if theRun.acceptedSchemas.contains(theRun.plan.label(of: planned)) { return }
        let (early, late) = (tool.early.level, tool.late.level)
        if wanted.expand != nil, early != (isDone ? 2 : 0) {
            violations.append("ended with the tool's work before the window at \(early)")
        }
        if wanted.contract != nil, late != (isDone ? 2 : 0) {
            violations.append("ended with the tool's work after the lift at \(late)")
        }
    }

    private mutating func write(_ line: String) { transcript.append(line) }

    var text: String { transcript.joined(separator: "\n") + "\nstate: \(theRun.state.rawValue)\n" }
}
