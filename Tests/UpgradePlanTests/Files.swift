// SPDX-License-Identifier: Apache-2.0

import Foundation
import UpgradeModel

@testable import UpgradePlan

/// The plans and fixtures of the repository, found from where this file is.
enum Files {
    static let fixtures = folder(#filePath).appending(path: "Fixtures")
    static let plans = folder(#filePath).appending(path: "../../plans").standardizedFileURL

    static func plan(_ name: String) throws -> String {
        try String(contentsOf: plans.appending(path: name), encoding: .utf8)
    }

    private static func folder(_ file: String) -> URL {
        URL(filePath: file).deletingLastPathComponent()
    }
}

/// The least that validates, for tests that add or replace one thing.
func minimal(
    nodes: String = "{names: [web-1, web-2, web-3]}", rollout: String = "", more: String = ""
) -> String {
    """
    fleet: guestbook
    nodes: \(nodes)
    release: {name: v2, bundle: ../bundle}
    rollout: {health: {check: page}\(rollout.isEmpty ? "" : ", " + rollout)}
    \(more)

    """
}

/// What a text is refused or warned for: codes with their positions, in order.
func findings(_ text: String) -> [String] {
    PlanDocument.parse(text: text, file: "p").diagnostics.map {
        "\($0.position?.line ?? 0):\($0.position?.column ?? 0) \($0.code)"
    }
}
