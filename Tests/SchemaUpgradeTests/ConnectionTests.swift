// SPDX-License-Identifier: Apache-2.0

import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// What a person is told where no connection is to be had.
@Suite struct ConnectionTests {
    @Test(arguments: ["user", "database"])
    func whereTheServerLetsNobodyInTheAdviceNamesTheAddressAndTheWayOn(_ wrong: String) async throws
    {
        let site = try await Site.make()
        let upgrade = site.upgrade {
            $0.address =
                wrong == "user"
                ? site.cluster.address(site.database, user: "nobody_\(site.database)")
                : site.cluster.address("no_\(site.database)", user: site.migrator)
        }
        let failure = try await upgrade.failure(.preflight)
        #expect(failure.code == "unreachable")
        #expect(failure.message.contains("does not exist"))
        let advice = try #require(failure.advice)
        #expect(advice.contains("the user, password and database of its address"))
        // The address is read when the coordinator starts: whoever has a new password needs to hear it.
        #expect(advice.contains("restart the coordinator"))
    }
}
