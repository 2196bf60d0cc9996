// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension SchemaUpgrade {
    func preflight(_ task: DatabaseTask) async throws -> DatabaseReport { DatabaseReport() }
}
