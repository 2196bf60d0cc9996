// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What the comments before the first statement of a file say: `-- sluice: expand transaction=none`.
public struct MigrationHeader: Hashable, Sendable {
    public var phase: MigrationPhase = .switch
    /// `transaction=none`: the statements run one by one, each in a transaction of its own where it can be.
    public var refusesTransaction = false
    /// `trial=none`: what the file does cannot be tried and taken back, as where it reaches other servers.
    public var refusesTrial = false
    /// `repeat=100ms lag=64MB`: rows are changed in batches.
    public var batches: Batches?
    /// `replaces=0001-0041`: this file does what those did. It is not run where they have been applied.
    public var replaces: ClosedRange<Int>?
    /// `requires=0041`: everything up to that version has been applied; its files may be gone.
    public var requires: Int?
    /// `private=note_old`: what the file creates for no application role, on purpose.
    public var privateRelations: Set<String> = []

    /// Each INSERT, UPDATE, DELETE and MERGE of the file is run again, each time in a transaction of its own, until it changes no row.
    public struct Batches: Hashable, Sendable {
        /// Between two of them.
        public var pause: Span
        /// How many bytes of the log those who stream it may be behind before the next one; `nil` where nobody asks.
        public var lag: Int64?

        public init(pause: Span, lag: Int64? = nil) {
            self.pause = pause
            self.lag = lag
        }
    }

    /// Something that a header cannot say.
    struct Wrong: Error {
        var line: Int
        var message: String
    }

    static let advice =
        "write one of: -- sluice: expand, -- sluice: switch, -- sluice: contract; "
        + "after it may stand transaction=none, repeat=100ms, lag=64MB, trial=none, replaces=0001-0041, requires=0041, private=TABLE"

    /// Whether versions of `number` and before may be in the ledger without a file.
    public func covers(_ number: Int) -> Bool {
        replaces?.contains(number) == true || requires.map { number <= $0 } == true
    }

    /// Reads the header, and collects what is wrong in it.
    static func read(_ sql: String, _ wrong: inout [Wrong]) -> MigrationHeader {
        var header = MigrationHeader()
        var hasPhase = false
        var lag: (bytes: Int64, line: Int)?
        var rest = sql[...]
        var index = -1
        while !rest.isEmpty {
            // PostgreSQL ends a comment at CR as at LF; CRLF is one character, and equal to neither.
            let whole = rest.prefix { !["\n", "\r\n", "\r"].contains($0) }
            rest = rest[whole.endIndex...].dropFirst()
            index += 1
            let line = whole.drop(while: \.isWhitespace)
            if line.isEmpty { continue }
            guard line.hasPrefix("--") else {
                if line.hasPrefix("/*"), isMeant(line) { wrong.append(unread(index + 1)) }
                break
            }
            let comment = line.drop(while: { $0.isWhitespace || $0 == "-" })
            guard comment.hasPrefix("sluice:") else {
                if isMeant(comment) { wrong.append(unread(index + 1)) }
                continue
            }
            let words = comment.dropFirst("sluice:".count).split(whereSeparator: \.isWhitespace)
            for word in words {
                if let phase = MigrationPhase(rawValue: String(word)) {
                    if hasPhase {
                        wrong.append(Wrong(line: index + 1, message: "the phase is given twice"))
                    }
                    hasPhase = true
                    header.phase = phase
                } else if word.hasPrefix("lag=") {
                    let bytes = Self.bytes(word.dropFirst("lag=".count))
                    lag = (bytes ?? 0, index + 1)
                    if bytes == nil {
                        wrong.append(
                            Wrong(line: index + 1, message: "\(word) is no size, such as lag=64MB"))
                    }
                } else if let message = header.readWord(word) {
                    wrong.append(Wrong(line: index + 1, message: message))
                }
            }
        }
        header.batches?.lag = lag?.bytes
        if let lag, header.batches == nil {
            wrong.append(Wrong(line: lag.line, message: "lag is said of batches: repeat=100ms"))
        }
        return header
    }

    /// Whether a comment that is no header was meant as one: `Sluice: expand`, `sluice expand`, `/* sluice: expand */`.
    private static func isMeant(_ comment: Substring) -> Bool {
        let words = comment.lowercased().split { $0.isWhitespace || ":*/".contains($0) }
        return words.first == "sluice" && words.count > 1
            && MigrationPhase(rawValue: String(words[1])) != nil
    }

    private static func unread(_ line: Int) -> Wrong {
        Wrong(line: line, message: "this comment would not be read, and its phase not be followed")
    }

    /// - Returns: what is wrong with the word.
    private mutating func readWord(_ word: Substring) -> String? {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return "there is no phase \(word)" }
        switch parts[0] {
        case "transaction":
            guard parts[1] == "none" else { return "transaction is none, or not said" }
            refusesTransaction = true
        case "trial":
            guard parts[1] == "none" else { return "trial is none, or not said" }
            refusesTrial = true
        case "repeat":
            guard let pause = Span(text: String(parts[1])) else {
                return "\(word) has no pause, such as repeat=100ms"
            }
            batches = Batches(pause: pause)
            refusesTransaction = true
        case "replaces":
            let ends = parts[1].split(separator: "-", omittingEmptySubsequences: false).map {
                Self.version($0)
            }
            guard (1...2).contains(ends.count), let first = ends[0],
                let last = ends[ends.count - 1],
                first <= last
            else { return "\(parts[1]) is no version and no range of versions" }
            replaces = first...last
        case "requires":
            guard let last = Self.version(parts[1]) else { return "\(parts[1]) is no version" }
            requires = last
        case "private":
            privateRelations.formUnion(parts[1].split(separator: ",").map(String.init))
        default: return "there is no word \(parts[0])"
        }
        return nil
    }

    private static func bytes(_ text: Substring) -> Int64? {
        let digits = text.prefix(while: { $0.isASCII && $0.isNumber })
        let units: [Substring: Int64] = ["kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30]
        guard (1...6).contains(digits.count), let count = Int64(digits),
            let unit = units[text.dropFirst(digits.count)]
        else { return nil }
        return count * unit
    }

    private static func version(_ text: Substring) -> Int? {
        guard (1...18).contains(text.count), text.allSatisfy({ $0.isASCII && $0.isNumber }) else {
            return nil
        }
        return Int(text)
    }
}
