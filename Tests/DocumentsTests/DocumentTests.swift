// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import Documents

/// A small kind of document that has every kind of key.
private let rules = DocumentRules(
    noun: "recipe", reference: "recipes/reference.yaml", beginning: "begin from a recipe",
    secretAdvice: nil,
    keys: DocumentTable([
        DocumentKey("title", .name, .required),
        DocumentKey("isVegan", .flag, .fallback("false")),
        DocumentKey("book", .absolutePath, .optional),
        DocumentKey("servings", .count(1...100), .fallback("4")),
        DocumentKey(
            "cooks", .list(of: .name, .init("list of names", maximum: 3)), .fallback("[a, b]")),
        DocumentKey(
            "oven", .section([DocumentKey("time", .span(.zero ... .minutes(60)), .fallback("5m"))]),
            .optional),
        DocumentKey(
            "steps", .named([DocumentKey("say", .text(maximum: 10), .required)], maximum: 2),
            .fallback("none")),
    ]))

@Suite struct DocumentTests {
    private func read(_ text: String) -> (values: DocumentValues?, findings: [String]) {
        let document = Document.read(text: text, file: "r", rules: rules)
        return (document.values, document.findings.finished().map(\.description))
    }

    private func codes(_ text: String) -> [String] {
        Document.read(text: text, file: "r", rules: rules).findings.finished().map {
            "\($0.position?.line ?? 0):\($0.position?.column ?? 0) \($0.code)"
        }
    }

    @Test func whatItDoesNotSayHasItsDefault() throws {
        let (values, findings) = read("title: soup")
        #expect(findings == [])
        #expect(values?.flag("isVegan") == false)
        #expect(values?.count("servings") == 4)
        #expect(values?.list("cooks")?.map(\.text) == ["a", "b"])
        #expect(values?.span("oven.time") == .minutes(5))
        #expect(values?.named("steps")?.isEmpty == true)
        #expect(values?.text("book") == nil)
    }

    @Test(arguments: [("true", true), ("yes", true), ("false", false), ("no", false)])
    func trueAndYesAreTheSameFalseAndNoTooWhoeverReads(_ text: String, _ expected: Bool) {
        #expect(read("title: a\nisVegan: \(text)").values?.flag("isVegan") == expected)
    }

    @Test(arguments: ["on", "Yes", "1", "maybe"])
    func anyOtherWordIsNoFlag(_ text: String) {
        #expect(codes("title: a\nisVegan: \(text)") == ["2:10 type"])
    }

    @Test func aPathIsAbsoluteAndCannotClimb() {
        #expect(read("title: a\nbook: //srv///x/").values?.text("book") == "/srv/x")
        for path in ["srv/x", "/srv/../x", "/./x", "~/x"] {
            #expect(codes("title: a\nbook: \(path)") == ["2:7 type"], "\(path)")
        }
    }

    @Test func sectionsUnderNamesOfTheWritersOwnAreReadAndNamedInFindings() throws {
        let boiled = read("title: a\nsteps: {boil: {say: hot}}").values?.named("steps")
        #expect(boiled?.map(\.name) == ["boil"])
        #expect(boiled?.first?.values.text("say") == "hot")
        let (values, found) = read(
            """
            title: soup
            steps:
              ../stir: {say: x}
              fry:
                sayy: x
            """)
        #expect(values?.isFaulty("steps") == true)
        try #require(found.count == 2)
        #expect(found[0].hasPrefix("r:3:3: error: `../stir` is not a name"))
        #expect(found[1].hasPrefix("r:5:5: error: `sayy` is not a key of `steps.fry`; did you"))
        #expect(codes("title: a\nsteps: {a: , b: {say: x}}") == ["2:9 missing-key"])
        #expect(
            codes("title: a\nsteps: {a: {say: x}, b: {say: x}, c: {say: x}}") == ["2:1 range"])
        #expect(codes("title: a\nsteps: [a]") == ["2:8 type"])
    }

    @Test func aSectionWhoseKeysMayAllBeLeftOutMayBeEmpty() {
        #expect(codes("title: a\noven:\nsteps:\n") == [])
        #expect(codes("title:\n") == ["1:1 no-value"])
    }

    @Test func aTextOfFewCharactersWithManyBytesIsRefused() {
        let accents = "e" + String(repeating: "\u{301}", count: 5000)
        #expect(codes("title: a\nsteps: {a: {say: \"\(accents)\"}}") == ["2:18 range"])
    }

    @Test(arguments: [
        ("title: a\ntitle: b\nservings: x", ["2:1 duplicate-key", "3:11 type"]),
        ("title: a\n\"title\": b\nservings: x", ["2:1 duplicate-key", "3:11 type"]),
        (
            "title: a\nservings: x\ntitle:\n  b\nservings: 1",
            [
                "2:11 type", "3:1 duplicate-key", "5:1 duplicate-key",
            ]
        ),
        ("{title: a, 'title': b, servings: x}", ["1:12 duplicate-key", "1:34 type"]),
        (
            "{title: a, servings: x, title: [b, {c: d}]}",
            [
                "1:22 type", "1:25 duplicate-key",
            ]
        ),
        (
            "title: a\ncooks:\n- c\n- d\ncooks:\n- e\nservings: x",
            [
                "5:1 duplicate-key", "7:11 type",
            ]
        ),
        (
            "title: a\noven:\n  time: 1s\n  # a comment\n  time: 2s\nservings: x",
            [
                "5:3 duplicate-key", "6:11 type",
            ]
        ),
        (
            "title: a\nsteps:\n  b: {say: x}\n  b:\n    say: y\n    sey: z\nservings: x",
            [
                "4:3 duplicate-key", "7:11 type",
            ]
        ),
    ])
    func aKeyThatIsGivenTwiceIsFoundWhereverItIsWrittenAndHidesNothingElse(
        _ text: String, _ expected: [String]
    ) { #expect(codes(text) == expected) }

    @Test(arguments: [
        "{title: a,\n title: b}", "? title\n: a\n? title\n: b", "{\"a,b\": 1, \"a,b\": 2}",
    ])
    func whereItIsWrittenInAnUnusualWayItIsSaidAlone(_ text: String) {
        let found = codes(text)
        #expect(found.count { $0.hasSuffix("duplicate-key") } >= 1, "\(found)")
    }

    @Test func moreLinesOrCommasThanAnybodyWritesAreRefusedBeforeATreeIsMade() {
        let lines = String(repeating: "\n", count: DocumentLimits.lines - 1)
        #expect(codes("title: a" + lines) == [])
        #expect(codes("title: a" + lines + "\n") == ["25001:1 too-large"])
        let items = String(repeating: "a,", count: DocumentLimits.commas + 1)
        #expect(codes("title: a\ncooks: [\(items)]") == ["2:1 too-large"])
    }

    @Test func bytesThatAreNoTextAreRefused() {
        let document = Document.read(bytes: [0x66, 0xFF], file: "r", rules: rules)
        #expect(document.findings.list.map(\.code) == ["encoding"])
        #expect(document.findings.list.first?.message == "the recipe is not UTF-8 text")
    }
}
