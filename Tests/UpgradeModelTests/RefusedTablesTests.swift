// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@Suite struct RefusedTablesTests {
    private static func table(_ name: String, _ count: Int64) -> RefusedTables.Table {
        RefusedTables.Table(name: name, statements: count)
    }

    @Test func theMostRefusedComeFirst() {
        let refused = RefusedTables(
            tables: [Self.table("a", 1), Self.table("session", 412), Self.table("b", 3)], others: 2)
        #expect(refused.description == "session 412 times, b 3 times, a once, other tables 2 times")
    }

    @Test func aLongListIsCutForPeople() {
        let tables = (10..<25).map { Self.table("t\($0)", 7) }
        let description = RefusedTables(tables: tables).description
        #expect(description?.hasSuffix("t19 7 times, 5 more tables 35 times") == true)
        #expect(RefusedTables(tables: tables).tables.count == 15)
    }

    @Test func whereNothingWasRefusedNothingIsSaid() {
        #expect(RefusedTables(tables: []).description == nil)
    }
}
