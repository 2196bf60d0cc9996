// SPDX-License-Identifier: Apache-2.0

import Metrics
import RunStore
import Testing
import UpgradeModel

@testable import ControlServer

@Suite struct PrometheusTests {
    @Test
    func areWrittenAsPrometheusReadsThemSorted() {
        let metrics = PrometheusMetrics()
        let b = metrics.makeCounter(label: "b_total", dimensions: [("route", "x")])
        b.increment(by: 2)
        b.increment(by: 3)
        metrics.makeCounter(label: "b_total", dimensions: [("route", "a\"\\\n")]).increment(by: 1)
        metrics.makeRecorder(label: "a gauge", dimensions: [], aggregate: false).record(1.5)
        #expect(
            metrics.text == """
                # TYPE a_gauge gauge
                a_gauge 1.5
                # TYPE b_total counter
                b_total{route="a\\"\\\\\\n"} 1
                b_total{route="x"} 5

                """)
    }

    @Test
    func countADurationInEveryBucketThatItFits() {
        let metrics = PrometheusMetrics()
        let timer = metrics.makeTimer(label: "t", dimensions: [])
        timer.recordNanoseconds(2_000_000)
        timer.recordNanoseconds(60_000_000_000)
        let lines = metrics.text.split(separator: "\n").map(String.init)
        #expect(lines.contains("t_bucket{le=\"0.001\"} 0"))
        #expect(lines.contains("t_bucket{le=\"0.0025\"} 1"))
        #expect(lines.contains("t_bucket{le=\"10.0\"} 1"))
        #expect(lines.contains("t_bucket{le=\"+Inf\"} 2"))
        #expect(lines.contains("t_sum 60.002"))
        #expect(lines.contains("t_count 2"))
    }

    @Test
    func haveALimitOfSeries() {
        let metrics = PrometheusMetrics()
        for number in 0..<3000 {
            metrics.makeCounter(label: "c", dimensions: [("n", "\(number)")]).increment(by: 1)
        }
        #expect(metrics.text.split(separator: "\n").count == PrometheusMetrics.seriesLimit + 1)
    }
}

@Suite struct TokenTests {
    @Test
    func isNewEachTimeHasItsShapeAndReadsBack() {
        let tokens = (0..<100).map { _ in Token() }
        #expect(Set(tokens.map(\.text)).count == 100)
        #expect(tokens.allSatisfy { $0.text.hasPrefix("sluice-") && $0.text.utf8.count == 71 })
        #expect(tokens.allSatisfy { Token(text: $0.text)?.hash == $0.hash })
    }

    @Test(arguments: ["", "sluice-", "x", "sluice-\(String(repeating: "G", count: 64))"])
    func ofAnotherShapeIsNone(_ text: String) {
        #expect(Token(text: text) == nil)
    }
}
