// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension Plan.Database {
    /// A physical standby of the database that follows it by streaming replication.
    public struct Standby: Hashable, Sendable {
        /// Where the URL of a direct connection to it is found.
        public let url: EnvironmentReference
        /// How far it may be behind in preflight.
        public let lag: Span
        /// How much write-ahead log, in bytes, may pile up on the primary for it while it is frozen; beyond that the run turns back.
        public let wal: Int64
        /// Who looks after both servers besides; `nil`: nobody does.
        public let manager: ClusterManager?

        public init(
            url: EnvironmentReference, lag: Span = .seconds(5), wal: Int64 = 10 << 30,
            manager: ClusterManager? = nil
        ) {
            precondition(Limits.standbyLag.contains(lag), "lag out of range")
            precondition(Limits.standbyLog.contains(wal), "wal out of range")
            self.url = url
            self.lag = lag
            self.wal = wal
            self.manager = manager
        }

        /// For people, as a plan has it: `10GB`.
        public var walText: String { ByteCount.text(wal) }
    }

    /// A program that starts, promotes and reconfigures the servers of a cluster; it is paused for a run.
    public struct ClusterManager: Hashable, Sendable {
        /// Where the URL of the REST API of any member of Patroni's is found.
        public let patroni: EnvironmentReference

        public init(patroni: EnvironmentReference) { self.patroni = patroni }
    }
}

/// A number of bytes as a plan has it: `10GB`, in the units of the database's own settings.
enum ByteCount {
    private static let units: [(String, Int64)] = [
        ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40),
    ]

    /// - Returns: `nil` for anything else than a whole number and one unit, or for more than fits.
    static func read(_ text: String) -> Int64? {
        guard let unit = units.first(where: { text.hasSuffix($0.0) }) else { return nil }
        let digits = text.dropLast(unit.0.count).utf8
        guard (1...9).contains(digits.count), digits.allSatisfy({ (48...57).contains($0) }),
            let number = Int64(text.dropLast(unit.0.count))
        else { return nil }
        let (bytes, isTooMuch) = number.multipliedReportingOverflow(by: unit.1)
        return isTooMuch ? nil : bytes
    }

    /// In the largest unit that gives a whole number.
    static func text(_ bytes: Int64) -> String {
        let unit = units.last { bytes % $0.1 == 0 } ?? units[0]
        return "\(bytes / unit.1)\(unit.0)"
    }
}
