// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@testable import UpgradePlan

/// Wrong plans under Fixtures, each with the diagnostics that it must get, word for word.
///
/// `SLUICE_REGENERATE=1 swift test --filter GoldenDiagnostics` writes them anew; review the difference.
@Suite struct GoldenDiagnosticsTests {
    static let names: [String] =
        ((try? FileManager.default.contentsOfDirectory(atPath: Files.fixtures.path())) ?? [])
        .filter { $0.hasSuffix(".yaml") }.sorted()

    @Test func thereAreFixtures() { #expect(GoldenDiagnosticsTests.names.count >= 15) }

    @Test(arguments: names)
    func diagnosticsAreWordForWordAsExpected(_ name: String) throws {
        let bytes = try Data(contentsOf: Files.fixtures.appending(path: name))
        let document = PlanDocument.parse(bytes: bytes, file: name)
        let text = document.diagnostics.map { "\($0)\n" }.joined()
        let golden = Files.fixtures.appending(path: name.replacing(".yaml", with: ".txt"))
        if ProcessInfo.processInfo.environment["SLUICE_REGENERATE"] == "1" {
            try text.write(to: golden, atomically: true, encoding: .utf8)
        }
        #expect(text == (try? String(contentsOf: golden, encoding: .utf8)))
        #expect(!document.diagnostics.isEmpty)
    }

    @Test(arguments: names)
    func everyDiagnosticHasAPlaceInTheTextAndAnAdvice(_ name: String) throws {
        let text = String(
            decoding: try Data(contentsOf: Files.fixtures.appending(path: name)), as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for diagnostic in PlanDocument.parse(text: text, file: name).diagnostics {
            let position = try #require(diagnostic.position)
            #expect(position.file == name)
            #expect((1...lines.count + 1).contains(position.line))
            #expect(position.column >= 1)
            #expect(diagnostic.advice?.isEmpty == false)
        }
    }

    @Test(arguments: names)
    func noDiagnosticRepeatsASecret(_ name: String) throws {
        let bytes = try Data(contentsOf: Files.fixtures.appending(path: name))
        for diagnostic in PlanDocument.parse(bytes: bytes, file: name).diagnostics {
            #expect(!"\(diagnostic)".contains("hunter2"))
        }
    }
}
