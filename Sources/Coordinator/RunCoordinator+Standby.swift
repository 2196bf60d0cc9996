// SPDX-License-Identifier: Apache-2.0

import UpgradeEngine
import UpgradeModel

extension RunCoordinator {
    /// Looks after a run's frozen standby, whatever is at work meanwhile: migration files, the application's own tool, or nodes that
    /// flip. The run is told what is another thing than it knows.
    func watchStandby(of identifier: RunIdentifier) async {
        while (try? await Task.sleep(for: ports.standbyInterval)) != nil,
            let run = published.run(identifier), run.watchesStandby
        {
            guard let sight = await worker(thatLooksFor: run)?.sight(of: identifier),
                published.run(identifier)?.isNews(sight) == true
            else { continue }
            enqueue(.standbySeen(identifier, sight))
        }
        watchedForStandby.remove(identifier)
    }
}
