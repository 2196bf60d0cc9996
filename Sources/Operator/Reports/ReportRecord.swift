// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel

/// A report for programs: the report's own keys and what is reckoned from them, all in milliseconds.
struct ReportRecord: Encodable {
    let report: RunReport

    init(_ report: RunReport) { self.report = report }

    private enum Keys: String, CodingKey {
        case type, phases, durationMilliseconds, windowMilliseconds, migrationMilliseconds
        case reversionMilliseconds, windowMinusMigrationMilliseconds
    }

    func encode(to encoder: any Encoder) throws {
        try report.encode(to: encoder)
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode("report", forKey: .type)
        try container.encode(report.phases, forKey: .phases)
        try container.encode(report.duration.milliseconds, forKey: .durationMilliseconds)
        try container.encode(report.window?.milliseconds, forKey: .windowMilliseconds)
        try container.encode(report.migration?.milliseconds, forKey: .migrationMilliseconds)
        try container.encode(report.reversion?.milliseconds, forKey: .reversionMilliseconds)
        try container.encode(
            report.windowMinusMigration?.milliseconds, forKey: .windowMinusMigrationMilliseconds)
    }
}
