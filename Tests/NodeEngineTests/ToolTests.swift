// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

@Suite struct ToolTests {
    private let goal = PassGoal(
        task: TaskIdentity(rawValue: "tool.1"), actions: [ActionName(unchecked: "migrate")])
    private var offer: PassOffer { PassOffer(task: goal.task, digest: v1.manifest) }

    private var tool: NodeTask {
        var tool = task("tool.1")
        tool.tool = ToolRun()
        return tool
    }

    @Test func aPassIsMadeOnceAndSaidForAsLongAsItIsAskedFor() {
        var rig = Rig()
        let asked = rig.hear(.directive(directive(1) { $0.pass = goal }))
        #expect(asked.pass == goal)
        #expect(asked.effects.contains(.makePass(goal)))
        #expect(rig.engine.preview().pass == nil)
        rig.hear(.passMade(goal, offer))
        #expect(rig.engine.preview().pass == offer)
        #expect(rig.hear(.time).pass == nil)
        #expect(rig.hear(.directive(directive(2) { $0.pass = goal })).pass == nil)
        rig.hear(.directive(directive(3)))
        #expect(rig.engine.preview().pass == nil)
    }

    @Test func aLateAnswerIsNoPassForAnotherTask() {
        var rig = Rig()
        let other = PassGoal(task: TaskIdentity(rawValue: "tool.2"), actions: [])
        rig.hear(.directive(directive(1) { $0.pass = goal }))
        #expect(rig.hear(.directive(directive(2) { $0.pass = other })).pass == other)
        rig.hear(.passMade(goal, offer))
        #expect(rig.engine.preview().pass == nil)
    }

    @Test func anAgentThatStartsAnewMakesThePassAnew() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.pass = goal }))
        rig.hear(.passMade(goal, offer))
        var restarted = Rig(rig.journal)
        #expect(restarted.hear(.time).pass == goal)
    }

    @Test func aToolIsCutOffWhenItIsNotAskedForAnyMoreAndAnotherActionIsNot() {
        var rig = Rig()
        #expect(rig.hear(.directive(directive(1) { $0.tasks = [tool] })).work == .run(tool))
        #expect(!rig.hear(.directive(directive(2) { $0.tasks = [tool] })).cancelsTool)
        let ready = rig.hear(.directive(directive(3)))
        #expect(ready.cancelsTool && !ready.cancelsWork)
        var other = Rig()
        other.hear(.directive(directive(1) { $0.tasks = [task("t")] }))
        let later = other.hear(.directive(directive(2)))
        #expect(!later.cancelsWork && !later.cancelsTool)
    }

    /// The standby that it reads from is lost while its tool is at work, which may take hours.
    @Test func besideAToolANodeGoesToAnotherReleaseAndAsksForItsHealth() {
        var rig = Rig(staged: [v1, v2])
        func asked(_ revision: Int64, _ health: String) -> Directive {
            directive(revision) {
                $0.tasks = [tool]
                $0.active = flip("left")
                $0.health = HealthGoal(
                    identity: TaskIdentity(rawValue: health),
                    check: HealthCheckName(unchecked: "page"), release: v2.name, consecutive: 1)
            }
        }
        #expect(rig.hear(.directive(directive(1) { $0.tasks = [tool] })).work == .run(tool))
        let leaving = rig.hear(.directive(asked(2, "h")))
        guard case .activate(let plan)? = leaving.work else {
            return #expect(Bool(false), "\(leaving)")
        }
        rig.host.flip(to: CurrentRelease(release: plan.release, generation: plan.generation))
        let flipped = rig.hear(.ended(.activate(plan), .done(rig.host)))
        guard case .probe(let goal)? = flipped.work else {
            return #expect(Bool(false), "\(flipped)")
        }
        // A question that is not asked any more is ended, and not the tool.
        let other = rig.hear(.directive(asked(3, "another")))
        #expect(other.cancelsWork && !other.cancelsTool)
        let dropped = WorkResult.probed(isGood: false, detail: "cancelled")
        let next = rig.hear(.ended(.probe(goal), dropped))
        guard case .probe(let again)? = next.work else { return #expect(Bool(false), "\(next)") }
        #expect(again.identity == TaskIdentity(rawValue: "another"))
        rig.hear(.ended(.probe(again), .probed(isGood: true, detail: "200")))
        let done = TaskOutcome(identity: tool.identity, state: .done)
        rig.hear(.ended(.run(tool), .task(done)))
        #expect(rig.engine.works.isEmpty)
    }

    @Test func aToolWhoseAgentDiedIsNotBegunASecondTime() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.tasks = [tool] }))
        var restarted = Rig(rig.journal)
        #expect(restarted.hear(.time).work == .resolve(tool))
    }
}
