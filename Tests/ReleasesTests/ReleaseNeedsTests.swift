// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing
import UpgradeModel

@testable import Releases

/// What a bundle says that it needs of a node.
@Suite struct ReleaseNeedsTests {
    @Test func pathsAndAnswersAreReadAndCommentsAreNot() throws {
        let needs = try ReleaseNeeds(
            parsing: """
                # libraries
                path /usr/lib/a b.so

                  path /usr/bin/python3.11
                answer python-version  Python 3.11.*

                """)
        #expect(
            needs.needs == [
                .path("/usr/lib/a b.so"), .path("/usr/bin/python3.11"),
                .answer(of: ActionName(unchecked: "python-version"), expected: "Python 3.11.*"),
            ])
    }

    @Test(arguments: [
        "path usr/lib/a.so", "path", "answer python-version", "answer python-version *",
        "answer a/b 1", "command /bin/sh", "path /a\u{7}b",
        "path /" + String(repeating: "a", count: 1000),
    ])
    func aLineThatSaysNothingIsAFindingOfTheBundleWithItsPlace(_ line: String) throws {
        let directory = try TemporaryDirectory()
        let top = try directory.write(
            ["app.py": "1", ReleaseNeeds.file: "# what it needs\n\(line)\n"], under: "bundle")
        let error = #expect(throws: Bundle.NotABundle.self) {
            try Bundle.read(directory: top, name: try #require(ReleaseName("v1")))
        }
        let finding = try #require(error?.findings.first)
        #expect(error?.findings.count == 1 && finding.code == "bundle-needs")
        #expect(
            finding.position?.file == "\(top)/\(ReleaseNeeds.file)" && finding.position?.line == 2)
    }

    @Test func moreNeedsThanAreLookedAtAreAFinding() {
        let text = (0...100).map { "path /usr/lib/\($0)" }.joined(separator: "\n")
        #expect(throws: Bundle.NotABundle.self) { try ReleaseNeeds(parsing: text) }
    }

    @Test(arguments: [
        ("Python 3.11.2", "Python 3.11.2", true), ("Python 3.11.2", "Python 3.11.*", true),
        ("Python 3.11.2", "Python 3.1.*", false), ("Python 3.11.2", "Python 3.11", false),
        ("a*", "a*", true), ("", "a", false),
    ])
    func anAnswerFitsAsAWholeOrByItsBeginning(_ answer: String, _ expected: String, _ fits: Bool) {
        #expect(ReleaseNeeds.fits(answer, expected) == fits)
    }
}
