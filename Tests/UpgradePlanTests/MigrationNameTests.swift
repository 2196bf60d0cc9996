// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel
import UpgradePlan

@Suite
struct MigrationNameTests {
    @Test(arguments: [
        ("0003_split_author", "0003"), ("000000000000000012_x-y.z", "000000000000000012"),
    ])
    func aNameIsTakenApart(version: String, number: String) throws {
        for (ending, direction) in [
            (".up.sql", MigrationName.MigrationDirection.up), (".down.sql", .down),
        ] {
            let name = try #require(MigrationName(file: version + ending))
            #expect(name.version == version && name.number == number && name.direction == direction)
            #expect(name.description == version + ending)
        }
    }

    @Test(arguments: [
        "0003_x.sql", "003_x.up.sql", "0003x.up.sql", "0003_.up.sql", "x_0003.up.sql",
        "0003_-x.up.sql",
        "0003_a..b.up.sql", "0003_a b.up.sql", "0003_x.up.sql.bak", "\u{0663}003_x.up.sql",
        "0003_é.up.sql",
        "1234567890123456789_x.up.sql", "",
    ])
    func anythingElseIsNoMigration(file: String) {
        #expect(MigrationName(file: file) == nil)
    }

    @Test func numbersAreComparedAsNumbers() {
        let names = [
            "10000_e.up.sql", "0002_b.up.sql", "0002_b.down.sql", "00010_c.up.sql", "0001_a.up.sql",
        ]
        #expect(
            names.compactMap { MigrationName(file: $0) }.sorted().map(\.description) == [
                "0001_a.up.sql", "0002_b.down.sql", "0002_b.up.sql", "00010_c.up.sql",
                "10000_e.up.sql",
            ])
    }

    @Test(
        arguments: [
            ("", .switch), ("CREATE TABLE a ();", .switch),
            ("-- sluice: expand\nSELECT 1", .expand),
            ("\n\n  -- Why.\r\n--sluice:contract\r\nSELECT 1", .contract),
            ("--- sluice: switch\n", .switch), ("\u{FEFF}-- sluice: expand\n", .expand),
            ("SELECT 1; -- sluice: expand", .switch), ("SELECT 1;\n-- sluice: expand", .switch),
        ] as [(String, MigrationPhase)])
    func theHeaderSaysWhen(text: String, phase: MigrationPhase) throws {
        #expect(try MigrationName.phase(inHeaderOf: text).get() == phase)
    }

    @Test func aWrongHeaderHasItsPlace() {
        func wrong(_ text: String) -> MigrationName.WrongHeader? {
            if case .failure(let wrong) = MigrationName.phase(inHeaderOf: text) {
                wrong
            } else {
                nil
            }
        }
        #expect(
            wrong("-- a\n\n-- sluice: later\n").map { [$0.line, $0.isSecond ? 1 : 0] } == [3, 0])
        #expect(
            wrong("-- sluice: expand\n-- sluice: expand\n").map { [$0.line, $0.isSecond ? 1 : 0] }
                == [2, 1])
    }
}
