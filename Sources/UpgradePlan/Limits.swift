// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// The range of every number and span of a plan.
///
/// The initialisers of `Plan` hold to them, and `PlanDocument` reports what lies outside.
enum Limits {
    static let nodes = 1...10_000
    static let databases = 100
    static let migrationsAtOnce = 1...16
    static let failedDatabases = 0...99
    static let failureBudget = 0...10_000
    static let consecutive = 1...100
    static let held = 1...100_000
    static let pace = 1...10_000
    static let keepReleases = 1...100
    static let hold = Span.milliseconds(100)...Span.minutes(5)
    static let retryAfter = Span.seconds(1)...Span.minutes(60)
    static let lease = Span.seconds(1)...Span.minutes(10)
    static let lockTimeout = Span.milliseconds(10)...Span.minutes(5)
    static let standbyLag = Span.milliseconds(100)...Span.minutes(60)
    /// In bytes: four segments at least.
    static let standbyLog = (64 << 20 as Int64)...(64 << 40 as Int64)
    static let announce = Span.zero...Span.minutes(1440)
    static let bake = Span.zero...Span.minutes(1440)
    static let deadline = Span.milliseconds(100)...Span.minutes(1440)
}
