// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@Suite struct DiagnosticTests {
    @Test func aDiagnosticReadsPlaceSeverityMessageAdviceCode() {
        let diagnostic = Diagnostic(
            .error, code: "unknown-key", at: .init(file: "plan.yaml", line: 12, column: 5),
            "`fleat` is not a key of a plan", advice: "did you mean `fleet`?")
        #expect(
            "\(diagnostic)"
                == "plan.yaml:12:5: error: `fleat` is not a key of a plan; did you mean `fleet`?"
                + " [unknown-key]")
    }

    @Test func aDiagnosticWithoutPlaceOrAdviceLeavesThemOut() {
        #expect("\(Diagnostic(.warning, code: "c", "m"))" == "warning: m [c]")
        #expect("\(Diagnostic(.note, code: "c", "m", advice: "a"))" == "note: m; a [c]")
    }
}
