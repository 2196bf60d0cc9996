// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import Documents
@testable import UpgradePlan

/// Hostile texts: each is refused, quickly and with a place, before it can grow.
@Suite struct LimitsTests {
    private func codes(_ text: String) -> Set<String> {
        Set(PlanDocument.parse(text: text, file: "p").diagnostics.map(\.code))
    }

    @Test func oneMebibyteIsReadAndOneByteMoreIsNot() {
        let start = minimal()
        let rest = DocumentLimits.bytes - start.utf8.count
        #expect(codes(start + "#" + String(repeating: "x", count: rest - 1)) == [])
        #expect(codes(start + "#" + String(repeating: "x", count: rest)) == ["too-large"])
        let bytes = [UInt8](repeating: 0xFF, count: DocumentLimits.bytes + 1)
        #expect(
            PlanDocument.parse(bytes: bytes, file: "p").diagnostics.map(\.code) == ["too-large"])
    }

    @Test func sixtyFourLevelsAreReadAndOneMoreIsNot() {
        // The plan itself is the first level.
        func nested(_ levels: Int) -> String {
            "x: " + String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
        }
        #expect(!codes(nested(63)).contains("too-deep"))
        #expect(codes(nested(64)).contains("too-deep"))
    }

    @Test(arguments: [
        Hostile("brackets", String(repeating: "[", count: 500_000)),
        Hostile("dashes", String(repeating: "- ", count: 500_000)),
        Hostile("question marks", String(repeating: "? ", count: 500_000)),
        Hostile("braces", String(repeating: "{a: ", count: 200_000)),
        Hostile(
            "stairs",
            (0..<1400).map { String(repeating: " ", count: $0) + "a:" }.joined(separator: "\n")),
        Hostile("brackets after a key", "x: " + String(repeating: "[", count: 990)),
        Hostile(
            "short stairs",
            (0..<250).map { String(repeating: " ", count: $0) + "a:" }.joined(separator: "\n")),
        Hostile(
            "stairs that end in dashes",
            (0..<250).map { String(repeating: " ", count: $0) + "a:\n" }.joined() + " - - b"),
    ])
    func depthThatWouldEndAStackIsRefused(_ hostile: Hostile) {
        let found = codes(hostile.text)
        #expect(found.contains("too-deep") || found.contains("yaml"), "\(found)")
    }

    @Test func aliasesThatMultiplyAreRefusedBeforeTheyDo() {
        let lines = (1...40).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1), *a\($0 - 1)]" }
        #expect(codes("a0: &a0 x\n" + lines.joined(separator: "\n")) == ["alias"])
        let keys = (1...40).map { "? &b\($0) [*b\($0 - 1), *b\($0 - 1)]\n: x" }
        #expect(codes("b0: &b0 x\n" + keys.joined(separator: "\n")) == ["alias"])
    }

    @Test func anchorsWithoutAliasesAndTheReverseAreRefused() {
        #expect(findings(minimal(more: "lease: &l 10s")).contains("5:8 alias"))
        #expect(findings(minimal(more: "lease: *l")) == ["5:8 alias"])
        #expect(findings(minimal(nodes: "&n {names: [a]}")).contains("2:8 alias"))
        #expect(findings(minimal(nodes: "{names: [&n a]}")).contains("2:17 alias"))
        #expect(findings(minimal(more: "<<: {lease: 10s}")) == ["5:1 alias"])
    }

    @Test(arguments: [
        ("lease: !!str 10s", "5:8 tag"), ("lease: ! 10s", "5:8 tag"),
        ("lease: !!str \"10s\"", "5:8 tag"), ("approvals: !!seq []", "5:12 tag"),
        ("drain: !!map {timeout: 1s}", "5:8 tag"), ("!!str lease: 10s", "5:1 tag"),
        ("lease: !python/object 10s", "5:8 tag"),
    ])
    func tagsAreRefusedWhereverTheyStand(_ line: String, _ expected: String) {
        #expect(findings(minimal(more: line)).contains(expected))
    }

    @Test func signsOfAnchorsAndTagsInsideTextAreText() {
        let text = minimal(
            more: "writes: {admission: refuse, message: 'Salt & pepper, *stars* and !bangs &c.'}")
        #expect(findings(text) == [])
    }

    @Test func aKeyThatIsGivenTwiceDoesNotHideOtherErrors() {
        let text = """
            fleet: guestbook
            fleet: other
            nodes: {names: [a], 'names': [b]}
            release: {name: v2, bundle: x}
            rollout: {health: {check: page}, canary: none}
            lease: 1s
            lease: 2s
            lease: 3s
            """
        #expect(
            findings(text) == [
                "2:1 duplicate-key", "3:21 duplicate-key", "5:42 type", "7:1 duplicate-key",
                "8:1 duplicate-key",
            ])
    }

    @Test func manyErrorsAreCutWithACount() {
        let text = minimal(more: (0..<1000).map { "unknown\($0): x" }.joined(separator: "\n"))
        let diagnostics = PlanDocument.parse(text: text, file: "p").diagnostics
        #expect(diagnostics.count == Findings.limit + 1)
        #expect(diagnostics.last?.message == "800 more findings are not shown")
    }

    @Test func aTextWithWindowsLineEndsAndAByteOrderMarkIsRead() {
        let text = "\u{FEFF}" + minimal(more: "leese: 3s").replacing("\n", with: "\r\n")
        #expect(findings(text) == ["5:1 unknown-key"])
    }
}
