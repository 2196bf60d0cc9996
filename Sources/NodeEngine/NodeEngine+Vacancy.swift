// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The last requests of a release that is not served any more.
extension NodeEngine {
    /// The release whose connections have to be counted now; `nil` as long as the node serves it, or nothing is asked.
    public var vacancyGoal: ReleaseReference? {
        guard let release = memory.directive?.vacated, let current = host.current,
            current.release != release
        else { return nil }
        return release
    }

    /// Has the connections looked at, once for each flip away from the release.
    mutating func askForVacancy(_ ready: inout NodeReady) {
        guard vacancyGoal != vacancyAsked else { return }
        vacancyAsked = vacancyGoal
        vacancy = nil
        ready.vacancy = vacancyGoal
    }

    mutating func noteVacancy(_ found: Vacancy) {
        if found.release == vacancyGoal { vacancy = found }
    }

    func observeVacancy() -> Vacancy? {
        memory.directive?.vacated.map { vacancy ?? Vacancy(release: $0) }
    }

    /// Whether the last requests have yet to end.
    var isBeingVacated: Bool { vacancyGoal != nil && vacancy?.isVacant != true }
}
