// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@Suite struct NamesTests {
    @Test(arguments: [
        "web-1", "v2", "2026.11.3", "a", "A_b-C.9", String(repeating: "x", count: 64),
    ])
    func safeNamesAreAccepted(_ text: String) {
        #expect(NodeName(text)?.rawValue == text)
        #expect(NodeName(rawValue: text)?.description == text)
    }

    @Test(arguments: [
        "", ".", "..", "../v2", "a/b", "a..b", "-rf", ".hidden", "_x", "a b", "a\nb", "a\u{0}",
        "é", "a%2e", "$(x)", "a:b", String(repeating: "x", count: 65), "ａ", "a\u{301}",
    ])
    func namesThatCouldTravelFurtherThanANameAreRefused(_ text: String) {
        #expect(NodeName(text) == nil)
        #expect(!isSafeName(text))
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(NodeName.self, from: JSONEncoder().encode(text))
        }
    }

    @Test func aNameTravelsAsItsText() throws {
        let name = try #require(ReleaseName("v2"))
        #expect(String(decoding: try JSONEncoder().encode(name), as: UTF8.self) == "\"v2\"")
        #expect(try JSONDecoder().decode(ReleaseName.self, from: Data("\"v2\"".utf8)) == name)
    }

    @Test func namesSortByTheirText() {
        let names = ["web-2", "web-10", "Web-1"].compactMap(NodeName.init(rawValue:))
        #expect(names.sorted().map(\.rawValue) == ["Web-1", "web-10", "web-2"])
    }
}
