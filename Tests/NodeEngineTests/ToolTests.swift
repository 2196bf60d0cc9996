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
        #expect(!rig.hear(.directive(directive(2) { $0.tasks = [tool] })).cancelsWork)
        #expect(rig.hear(.directive(directive(3))).cancelsWork)
        var other = Rig()
        other.hear(.directive(directive(1) { $0.tasks = [task("t")] }))
        #expect(!other.hear(.directive(directive(2))).cancelsWork)
    }

    @Test func aToolWhoseAgentDiedIsNotBegunASecondTime() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.tasks = [tool] }))
        var restarted = Rig(rig.journal)
        #expect(restarted.hear(.time).work == .resolve(tool))
    }
}
