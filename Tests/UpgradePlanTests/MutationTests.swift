// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradePlan

/// The validator against texts that nobody would write.
@Suite struct MutationTests {
    @Test
    func aMutatedReferenceIsAPlanOrIsRefusedWithPlacesItNeverStopsTheProcess() throws {
        let reference = Array(try Files.plan("reference.yaml").unicodeScalars)
        var random = SeededGenerator(seed: 0x51_1CE)
        var refused = 0
        for round in 0..<400 {
            var scalars = reference
            for _ in 0..<Int.random(in: 1...6, using: &random) { mutate(&scalars, &random) }
            let document = PlanDocument.parse(
                text: String(String.UnicodeScalarView(scalars)), file: "m")
            let errors = document.diagnostics.filter { $0.severity == .error }
            #expect((document.plan == nil) == !errors.isEmpty, "round \(round)")
            #expect(document.diagnostics.allSatisfy { $0.position != nil }, "round \(round)")
            #expect(!errors.contains { $0.code == "internal" }, "round \(round)")
            if document.plan == nil { refused += 1 }
        }
        // Both kinds come about, so the expectations above were asked of both.
        #expect((20..<400).contains(refused))
    }

    @Test
    func aLineThatIsLeftOutDoubledOrMovedNeverStopsTheProcess() throws {
        let lines = try Files.plan("reference.yaml")
            .split(separator: "\n").filter { !$0.contains(#/^ *# /#) }.map(String.init)
        for index in lines.indices {
            var without = lines
            let line = without.remove(at: index)
            for variant in [
                without, lines[...index] + [line] + lines[(index + 1)...], [line] + without,
                lines[..<index] + ["  " + line] + lines[(index + 1)...],
                lines[..<index] + [line.prefix { $0 != ":" } + ":"] + lines[(index + 1)...],
            ] as [[String]] {
                let document = PlanDocument.parse(text: variant.joined(separator: "\n"), file: "m")
                #expect(document.diagnostics.allSatisfy { $0.position != nil })
                #expect(
                    (document.plan == nil)
                        == document.diagnostics.contains { $0.severity == .error })
            }
        }
    }

    @Test func bytesThatAreNotTextAreRefused() {
        let document = PlanDocument.parse(bytes: [0x66, 0xFF, 0xFE], file: "b")
        #expect(document.plan == nil)
        #expect(document.diagnostics.map(\.code) == ["encoding"])
    }

    private func mutate(_ scalars: inout [Unicode.Scalar], _ random: inout SeededGenerator) {
        let pieces = [
            "[", "]", "{", "}", ": ", "- ", "&a ", "*a", "!!str ", "\"", "'", "\t", "\n", "---\n",
            "\u{0}", "\u{85}", "\r\n", "é", "🙂", "|", "> ", "%", "@", "#", " #", "? ", "<<: ", "~",
            "password: ", "9999999999999", "-1", "0", "''", "\\",
        ]
        let index = Int.random(in: 0..<scalars.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: scalars.remove(at: index)
        case 1:
            let end = min(scalars.count, index + Int.random(in: 1...60, using: &random))
            scalars.removeSubrange(index..<end)
        case 2:
            let end = min(scalars.count, index + Int.random(in: 1...200, using: &random))
            scalars.append(contentsOf: scalars[index..<end])
        default:
            let piece = pieces.randomElement(using: &random) ?? ""
            scalars.insert(contentsOf: piece.unicodeScalars, at: index)
        }
    }
}
