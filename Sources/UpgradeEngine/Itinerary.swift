// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
public import UpgradePlan

/// The steps of a run in their order: computed from the plan, so that what `plan` shows is what `apply` does.
public enum Itinerary {
    /// What is done, in order. A new step is a file of its own and a line here. Kinds on one line come one after the other for each
    /// database.
    static let work: [(phase: Phase, kinds: [any StepDefinition.Type])] = [
        (.preflight, [PresentStep.self]),
        (.preflight, [PreflightTaskStep.self]),
        (.stage, [StageStep.self]),
        (.stage, [ReaderStep.self]),
        (.stage, [PreviewToolStep.self, ReadPreviewStep.self]),
        (.stage, [ExpandStep.self]),
        (.stage, [ExpandWithStep.self, JudgeExpandStep.self]),
        (.readOnly, [AnnounceStep.self]),
        (.readOnly, [PauseManagerStep.self]),
        (.readOnly, [CloseStep.self]),
        // The fence goes up once writes in flight have ended: nobody's write is cut off by it without need.
        (.drain, [DrainStep.self]),
        (.drain, [HoldSessionsStep.self]),
        (.drain, [RaiseFenceStep.self]),
        (.drain, [CensusStep.self]),
        // Reads move once the standby has everything: nobody misses what they have written.
        (.drain, [FreezeStep.self]),
        (.drain, [ReadFromStandbyStep.self]),
        (.migrate, [BraceStep.self]),
        (.migrate, [MigrateStep.self]),
        (.migrate, [OpenPassStep.self, ToolStep.self, ClosePassStep.self, LeaveOutStep.self]),
        (.migrate, [CloseSitesStep.self]),
        (.rollout, [StartStep.self]),
        (.rollout, [UpgradeStep.self]),
        (.verify, [VerifyStep.self]),
        (.verify, [HookUndoStep.self]),
        (.lift, [SilenceStep.self]),
        (.lift, [LowerFenceStep.self]),
        // Before it what a hook has done until the fence is down is undone.
        (.lift, [OpenStep.self]),
        (.lift, [HookUndoStep.self]),
        (.finish, [OpenSitesStep.self]),
        (.finish, [DrainReaderStep.self]),
        (.finish, [EndReaderStep.self]),
        (.finish, [FeedStep.self]),
        (.finish, [ResumeManagerStep.self]),
        (.finish, [ContractStep.self]),
        (.finish, [ContractWithStep.self, JudgeContractStep.self]),
        (.finish, [RetireStep.self]),
    ]

    /// What only undoes, or stands where the plan says.
    static let others: [any StepDefinition.Type] = [
        HoldReadsStep.self, SettlePassStep.self, OpenRevertPassStep.self, RevertToolStep.self,
        CloseRevertPassStep.self, RevertMigrationStep.self, ReactivateStep.self,
        HaltStep.self, SettleExpandStep.self, RevertExpandWithStep.self, JudgeRevertExpandStep.self,
        RevertExpansionStep.self, UnstageStep.self, CompareSchemaStep.self, BakeStep.self,
        HookStep.self, PromoteBehindFenceStep.self, PromoteStep.self, EndOldStep.self,
    ]

    /// All steps from preflight to finish.
    ///
    /// - Parameter batches: how many batches the rollout has, the canary included.
    public static func forward(_ plan: Plan, batches: Int) -> [any StepDefinition] {
        Phase.allCases.flatMap { phase in
            approval(of: phase, in: plan)
                + hooks(.before, phase, in: plan)
                + work.filter { $0.phase == phase }.flatMap {
                    inTurn($0.kinds.map { $0.steps(in: phase, of: plan, batches: batches) })
                }
                + hooks(.after, phase, in: plan)
        }
    }

    /// The steps that undo what may have begun, in reverse order.
    ///
    /// - Parameter steps: all steps of the way forward.
    static func back(
        _ steps: [any StepDefinition], undoing: Undoing
    ) -> [any StepDefinition] {
        steps.reversed().filter { undoing.begun.contains($0.step) }.flatMap { $0.undo(undoing) }
    }

    /// What would be undone of a plan when something fails after some steps, for whoever shows it before.
    ///
    /// - Parameters:
    ///   - begun: every forward step that has begun, whether it ended or not.
    ///   - schemas: the databases of which preflight has said what the schema was before the run.
    public static func back(
        _ plan: Plan, from steps: [any StepDefinition], begun: Set<Step>,
        schemas: Set<DatabaseName?> = []
    ) -> [any StepDefinition] {
        let isMigrated = begun.contains { $0.word == MigrateStep.word }
        return back(
            steps,
            undoing: Undoing(
                plan: plan, begun: begun, schemas: schemas, isSchemaInDoubt: isMigrated))
    }

    /// The first of each list, then the second of each.
    private static func inTurn(_ lists: [[any StepDefinition]]) -> [any StepDefinition] {
        (0..<(lists.map(\.count).max() ?? 0)).flatMap { index in
            lists.compactMap { $0.indices.contains(index) ? $0[index] : nil }
        }
    }

    private static func approval(of phase: Phase, in plan: Plan) -> [any StepDefinition] {
        plan.approvals.contains(phase) ? [ApprovalStep(phase, index: nil)] : []
    }

    private static func hooks(
        _ timing: HookTiming, _ phase: Phase, in plan: Plan
    ) -> [any StepDefinition] {
        plan.hooks.indices
            .filter { plan.hooks[$0].timing == timing && plan.hooks[$0].phase == phase }
            .map { HookStep(phase, index: $0) }
    }
}

extension Plan {
    /// Whether nobody is asked and no action of the plan runs between a phase and the one after it.
    func goesOnAtOnce(from phase: Phase, to next: Phase) -> Bool {
        let isHooked = hooks.contains {
            ($0.phase == phase && $0.timing == .after) || ($0.phase == next && $0.timing == .before)
        }
        return !isHooked && !approvals.contains(next)
    }
}

/// The kinds of steps by their stored words.
enum StepCatalog {
    static let kinds: [String: any StepDefinition.Type] = {
        var kinds: [String: any StepDefinition.Type] = [:]
        for kind in Itinerary.work.flatMap(\.kinds) + Itinerary.others { kinds[kind.word] = kind }
        for word in ApprovalStep.words.keys { kinds[word] = ApprovalStep.self }
        return kinds
    }()

    /// - Returns: `nil` for a step that this program does not know.
    static func definition(of step: Step, in phase: Phase) -> (any StepDefinition)? {
        kinds[step.word]?.init(ApprovalStep.words[step.word] ?? phase, index: step.index)
    }
}
