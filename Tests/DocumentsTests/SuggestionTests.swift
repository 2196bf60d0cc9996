// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Documents

@Suite struct SuggestionTests {
    @Test(arguments: [
        ("maxUnavailable", "max_unavailable"), ("max-unavailable", "max_unavailable"),
        ("max_unavailble", "max_unavailable"), ("Canary", "canary"), ("canray", "canary"),
        ("batch", "batches"), ("heath", "health"),
    ])
    func aSlipOfTheFingerIsUnderstood(_ word: String, _ meant: String) {
        let keys = ["warm", "canary", "batches", "max_unavailable", "health", "caches", "retire"]
        #expect(nearest(to: word, among: keys) == meant)
    }

    @Test(arguments: ["replicas", "x", "", "strategy", String(repeating: "canary", count: 30)])
    func whatIsFarFromEverythingGetsNoSuggestion(_ word: String) {
        #expect(nearest(to: word, among: ["canary", "batches", "bake"]) == nil)
    }

    @Test(arguments: [
        ("", "", 0), ("a", "", 1), ("canary", "canray", 1), ("kitten", "sitting", 3),
        ("ab", "ba", 1),
    ])
    func distanceCountsLettersAndSwaps(_ left: String, _ right: String, _ expected: Int) {
        #expect(distance(Array(left.utf8), Array(right.utf8)) == expected)
        #expect(distance(Array(right.utf8), Array(left.utf8)) == expected)
    }
}
