// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

/// A node goes over to the same release on the standby, and says when the other one has answered its last request.
@Suite struct VacancyTests {
    private let reader = v1.on(.standby)

    private func going(_ revision: Int64, _ change: (inout Directive) -> Void = { _ in })
        -> Directive
    {
        directive(revision) {
            $0.active = flip("reads", to: reader)
            $0.vacated = v1
            change(&$0)
        }
    }

    @Test func theFlipToTheSameReleaseOnAnotherDatabaseKeepsTheGeneration() {
        var rig = Rig(staged: [v1, reader, v2])
        rig.host.latest = CurrentRelease(release: v2, generation: CacheGeneration(rawValue: 2))
        rig.hear(.surveyed(rig.host))
        rig.hear(.directive(going(1)))
        _ = rig.succeedInEverything()
        #expect(
            rig.host.current
                == CurrentRelease(release: reader, generation: CacheGeneration(rawValue: 1)))
        #expect(rig.engine.preview().active?.identity?.rawValue == "reads")
        rig.hear(.directive(directive(2) { $0.active = flip("forward", to: v2) }))
        _ = rig.succeedInEverything()
        #expect(rig.host.current?.generation == CacheGeneration(rawValue: 2))
        rig.hear(.directive(directive(3) { $0.active = flip("back", to: reader) }))
        _ = rig.succeedInEverything()
        #expect(rig.host.current?.generation == CacheGeneration(rawValue: 3))
    }

    @Test func itsRequestsAreLookedAtOnceTheNodeServesAnotherRelease() {
        var rig = Rig(staged: [v1, reader])
        let asked = rig.hear(.directive(going(1)))
        #expect(asked.vacancy == nil && rig.engine.vacancyGoal == nil)
        #expect(rig.engine.preview().vacated == Vacancy(release: v1))
        let flipped = rig.succeed()
        #expect(flipped.vacancy == v1)
        #expect(flipped.effects.contains(.watch(v1)))
        #expect(rig.engine.preview().vacated?.isVacant == false)
        rig.hear(.vacated(Vacancy(release: v1, requests: 2, streams: 1)))
        #expect(rig.engine.preview().vacated?.requests == 2)
        #expect(rig.engine.preview().vacated?.isVacant == false)
        rig.hear(.vacated(Vacancy(release: v1, requests: 0, streams: 1)))
        #expect(rig.engine.preview().vacated?.isVacant == true)
        rig.hear(.directive(going(2) { $0.vacated = nil }))
        #expect(rig.engine.preview().vacated == nil)
    }

    /// What has been seen before a flip back says nothing of the next flip.
    @Test func itIsLookedAtAnewAfterTheNodeHasServedTheReleaseAgain() {
        var rig = Rig(staged: [v1, reader])
        rig.hear(.directive(going(1)))
        _ = rig.succeedInEverything()
        rig.hear(.vacated(Vacancy(release: v1, requests: 0)))
        rig.hear(.directive(going(2) { $0.active = flip("back", to: v1) }))
        _ = rig.succeedInEverything()
        #expect(rig.engine.preview().vacated?.requests == nil)
        rig.hear(.vacated(Vacancy(release: v1, requests: 0)))
        #expect(rig.engine.preview().vacated?.requests == nil, "it is served")
        rig.hear(.directive(going(3) { $0.active = flip("again", to: reader) }))
        #expect(rig.succeed().vacancy == v1)
        #expect(rig.engine.preview().vacated?.requests == nil)
    }

    @Test func anAgentThatIsStartedAgainLooksAnew() {
        var rig = Rig(staged: [v1, reader])
        rig.hear(.directive(going(1)))
        _ = rig.succeedInEverything()
        var next = Rig(rig.journal, staged: [v1, reader], active: reader)
        #expect(next.hear(.time).vacancy == v1)
    }

    /// Whoever waits for the last request hears of it at once, and of the ones before it not each time.
    @Test func theLastRequestIsReportedAndTheOnesBeforeItNot() {
        var rig = Rig(staged: [v1, reader])
        rig.hear(.directive(going(1)))
        _ = rig.succeedInEverything()
        rig.now = rig.now + .seconds(1)
        _ = rig.engine.status(at: rig.now)
        let more = rig.hear(.vacated(Vacancy(release: v1, requests: 3)))
        #expect(!more.report)
        #expect(rig.hear(.vacated(Vacancy(release: v1, requests: 0))).report)
    }
}
