// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradePlan

/// A great deal of one thing: each must end in a bounded list of findings.
@Suite(.serialized) struct HostileTests {
    @Test(
        "a great deal of anything gives a bounded answer",
        arguments: [
            ("", "a: b\n"), ("", "canari@: x\n"), ("", "p://a:b password=x\n"), ("", "- x\n"),
            ("", "\n"), ("", "*"), ("", "&a@ "), ("", "://:x@"), ("", "password="), ("", "é"),
            ("", "\u{1}"), ("nodes:\n  names:\n", "  - web-@\n"),
            ("hooks:\n", "- {before: stage, run: a, node: web@}\n"),
            ("nodes:\n  labels:\n", "    a@: b\n"),
        ])
    func greatDeal(_ start: String, _ piece: String) {
        var text = start
        var index = 0
        while text.utf8.count < SourceText.maximumBytes / 16 {
            text += piece.replacing("@", with: "\(index)")
            index += 1
        }
        let document = PlanDocument.parse(text: text, file: "p")
        #expect(document.plan == nil)
        #expect((1...Findings.limit + 1).contains(document.diagnostics.count))
    }
}
