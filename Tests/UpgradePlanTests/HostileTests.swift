// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import Documents
@testable import UpgradePlan

/// A text that means harm, with a name, for a million brackets say little in a test's output.
struct Hostile: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let text: String

    init(_ name: String, _ text: String) {
        self.testDescription = name
        self.text = text
    }
}

/// A great deal of one thing: each must end in a bounded list of findings.
@Suite(.serialized) struct HostileTests {
    /// A sixteenth of the largest text that is read: `start`, then `piece` again and again. `@` in it is the number of the piece.
    private static func repeated(_ name: String, after start: String = "", _ piece: String)
        -> Hostile
    {
        var text = start
        var index = 0
        while text.utf8.count < DocumentLimits.bytes / 16 {
            text += piece.replacing("@", with: "\(index)")
            index += 1
        }
        return Hostile(name, text)
    }

    @Test(arguments: [
        repeated("one key", "a: b\n"), repeated("unknown keys", "canari@: x\n"),
        repeated("secrets", "p://a:b password=x\n"), repeated("a sequence", "- x\n"),
        repeated("lines", "\n"),
        repeated("asterisks", "*"), repeated("anchors", "&a@ "),
        repeated("halves of URLs", "://:x@"),
        repeated("passwords", "password="), repeated("accents", "é"),
        repeated("control characters", "\u{1}"),
        repeated("names", after: "nodes:\n  names:\n", "  - web-@\n"),
        repeated("hooks", after: "hooks:\n", "- {before: stage, run: a, node: web@}\n"),
        repeated("labels", after: "nodes:\n  labels:\n", "    a@: b\n"),
    ])
    func aGreatDealOfAnythingGivesABoundedAnswer(_ hostile: Hostile) {
        let document = PlanDocument.parse(text: hostile.text, file: "p")
        #expect(document.plan == nil)
        #expect((1...Findings.limit + 1).contains(document.diagnostics.count))
    }
}
