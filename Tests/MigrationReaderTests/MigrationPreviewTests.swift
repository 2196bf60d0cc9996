// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import Testing
import UpgradeModel

/// What a migration tool says that it would do.
@Suite struct MigrationPreviewTests {
    private let django = """
        -- shelf.0002_slug
        BEGIN;
        --
        -- Add field slug to book
        --
        ALTER TABLE "shelf_book" ADD COLUMN "slug" varchar(80)
            DEFAULT '' NOT NULL;
        --
        -- Raw Python operation
        --
        -- THIS OPERATION CANNOT BE WRITTEN AS SQL
        ALTER TABLE "shelf_book" DROP COLUMN "author";
        COMMIT;
        """

    @Test func theToolsOwnTransactionsAreItsOwnMatterAndItsStatementsAreRead() {
        let preview = MigrationPreview.read(django, servesReads: true)
        #expect(
            preview.lines == [
                "ALTER TABLE \"shelf_book\" ADD COLUMN \"slug\" varchar(80) DEFAULT '' NOT NULL",
                "ALTER TABLE \"shelf_book\" DROP COLUMN \"author\"",
            ])
        let found = preview.findings.map { "\($0.code):\($0.position?.line ?? 0)" }
        #expect(Set(found) == ["cached-plan:6", "breaks-old-readers:12", "preview-code:11"])
        #expect(preview.summary == "2 statements, 3 warnings")
        #expect(preview.findings.allSatisfy { $0.position?.file == "preview" })
        // No file of a plan is advised for what is the tool's.
        #expect(!preview.findings.contains { $0.advice?.contains("-- sluice:") == true })
    }

    @Test func readersWhoWaitMissNothing() {
        let preview = MigrationPreview.read(django, servesReads: false)
        #expect(preview.findings.map(\.code) == ["preview-code"])
    }

    @Test(arguments: [
        (
            " Status   Migration ID    Migration Name\n  down     20260201000000  Slug\n",
            "2 lines, not SQL"
        ),
        ("", "nothing that is SQL"), ("BEGIN;\n\nCOMMIT;\n", "nothing that is SQL"),
        ("CREATE INDEX CONCURRENTLY i ON t (a);\nSELECT 1;", "2 statements"),
        ("VACUUM t", "1 statement"),
    ]) func whatIsNoSQLIsShownAsItStandsAndHowAToolRunsItsStatementsIsItsOwnMatter(
        text: String, summary: String
    ) {
        #expect(MigrationPreview.read(text, servesReads: true).summary == summary)
    }

    @Test func whatIsCutIsReadUpToItsLastWholeStatement() {
        let many = String(repeating: "INSERT INTO t VALUES (1);\n", count: 2000)
        let cut = String(many.prefix(TaskOutcome.previewLimit))
        let preview = MigrationPreview.read(cut, servesReads: true)
        #expect(preview.findings.map(\.code) == ["preview-cut"])
        #expect(preview.lines.count == TaskOutcome.previewLimit / 26)
    }
}
