// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@Suite struct DirectiveTests {
    private func directive(epoch: Int64, revision: Int64) -> Directive {
        Directive(epoch: Epoch(rawValue: epoch), revision: revision)
    }

    @Test func theEpochDecidesBeforeTheRevision() {
        #expect(directive(epoch: 2, revision: 1).isNewer(than: directive(epoch: 1, revision: 9)))
        #expect(directive(epoch: 1, revision: 2).isNewer(than: directive(epoch: 1, revision: 1)))
        #expect(!directive(epoch: 1, revision: 1).isNewer(than: directive(epoch: 1, revision: 1)))
    }

    @Test func whoAsksAndWhenIsNoPartOfWhatIsAsked() {
        let first = directive(epoch: 1, revision: 1)
        var second = directive(epoch: 2, revision: 7)
        #expect(first.asksTheSame(as: second))
        second.writes = .refuse(retryAfter: .seconds(5), message: "wait")
        #expect(!first.asksTheSame(as: second))
    }

    @Test(arguments: [
        WriteAdmission.open,
        .hold(HoldLimits(atMost: 10, duration: .seconds(15), retryAfter: .seconds(5))),
        .refuse(retryAfter: .seconds(5), message: "An upgrade is under way."),
    ])
    func everyAdmissionSurvivesItsJourney(_ admission: WriteAdmission) throws {
        let data = try JSONEncoder().encode(admission)
        #expect(try JSONDecoder().decode(WriteAdmission.self, from: data) == admission)
        #expect(admission.isOpen == (admission == .open))
    }

    @Test func epochsAndGenerationsOnlyRise() {
        #expect(Epoch.zero.next > Epoch.zero)
        #expect(CacheGeneration.zero.next.rawValue == 1)
    }
}
