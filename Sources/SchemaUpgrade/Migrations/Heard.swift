// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// What the server said beside its answers to the statements of one file, as lines for people: a bounded number of them.
struct Heard: Sendable {
    /// So many lines of one file are kept.
    static let most = 20
    let file: String
    private var kept: [String] = []
    private var others = 0

    init(_ step: Step) { file = step.script.file }

    mutating func add(_ notices: ServerNotices, to statement: Statement) {
        let position = statement.position
        for (notice, count) in zip(notices.kept, notices.counts) {
            guard kept.count < Self.most else {
                others += count
                continue
            }
            let times = count == 1 ? "" : " (\(count) times)"
            kept.append(
                "\(position.file):\(position.line):\(position.column): \(notice.description)\(times)"
            )
        }
        others += notices.others
    }

    var lines: [String] {
        others == 0 ? kept : kept + ["\(file): \(others) more notices of the server"]
    }
}
