// SPDX-License-Identifier: Apache-2.0

import HostWork
import NodeEngine
import Releases
import UpgradeModel

/// When the last request of a release that is not served any more has been answered.
extension Agent {
    /// Looks until no request is left, or nobody asks any more. A proxy that connects through `current` reaches the other release from the
    /// flip on, so that none comes after the first look; the second is for a connection that was being made during the flip.
    func watchVacancy() async {
        for await release in vacancies.stream {
            var quiet = 0
            while !Task.isCancelled, engine.vacancyGoal == release, quiet < 2 {
                let found = connections(to: release)
                quiet = found?.isVacant == true ? quiet + 1 : 0
                // The engine hears of none before the last look.
                if let found, !found.isVacant || quiet == 2 { handle(.vacated(found)) }
                if quiet < 2 { try? await Task.sleep(for: .milliseconds(5)) }
            }
        }
    }

    /// `nil`: the kernel does not say.
    private func connections(to release: ReleaseReference) -> Vacancy? {
        guard let open = UnixSocketTable.now()?.connections(at: store.socketPath(of: release))
        else { return nil }
        let young = connectionAges.young(among: open)
        return Vacancy(release: release, requests: young.count, streams: open.count - young.count)
    }
}
