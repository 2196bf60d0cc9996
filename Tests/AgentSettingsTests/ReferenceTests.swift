// SPDX-License-Identifier: Apache-2.0

import Documents
import FoundationEssentials
import Testing
import TestSupport
import UpgradeModel

@testable import AgentSettings

/// `agents/agent.yaml` is the documentation of the keys and must not drift from what is read.
@Suite struct ReferenceTests {
    private var text: String {
        get throws {
            let file = URL(filePath: #filePath).deletingLastPathComponent().appending(
                path: "../../agents/agent.yaml")
            return try String(contentsOf: file, encoding: .utf8)
        }
    }

    private func keys() throws -> [ReferenceKey] {
        referenceKeys(try text, named: ["actions", "health", "caches"])
    }

    @Test func theReferenceHasEveryKeyThatIsReadAndNoOther() throws {
        #expect(Set(try keys().map(\.path)) == Set(AgentKeys.table.paths.map(\.path)))
    }

    @Test func everyKeyOfTheReferenceStatesItsTypeRangeAndDefault() throws {
        for key in try keys() where !key.isRepeated {
            #expect(key.annotation == AgentKeys.table[key.path]?.annotation, "\(key.path)")
        }
    }

    @Test func everyKeyOfTheReferenceIsExplainedInWords() throws {
        for key in try keys() where !key.isRepeated {
            #expect(key.explanation.count > 10, "\(key.path)")
        }
    }

    @Test func everyDefaultOfTheTableIsOfItsKind() {
        let values = DocumentValues(defaultsOf: AgentKeys.table, file: "a")
        for (path, key) in AgentKeys.table.paths {
            if case .fallback = key.presence { #expect(values.value(path) != nil, "\(path)") }
        }
    }

    @Test func theAlternativesBehindASignAreKeysWithValuesThatAreRead() throws {
        let lines = try text.split(separator: "\n", omittingEmptySubsequences: false)
            .map(String.init)
            .map { $0.contains(#/^ *#[a-z_]+: /#) ? $0.replacing("#", with: "") : $0 }
        let found = AgentConfiguration.read(text: lines.joined(separator: "\n"), file: "a").findings
        let unexpected = found.filter {
            $0.severity == .error && !["unreadable", "value"].contains($0.code)
        }
        #expect(unexpected == [])
    }
}
