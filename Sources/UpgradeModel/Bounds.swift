// SPDX-License-Identifier: Apache-2.0

/// What a number or a text of a directive or a status may be at most. Whoever takes one in asks for its `limitProblem` before it is
/// stored or reckoned with: each is input from outside.
public enum Bounds {
    /// Tasks, failures and staged releases in one message.
    public static let entries = 256
    /// Bytes of any text.
    public static let text = 8192
    /// Bytes of what names something, such as a task or a boot.
    public static let word = 256
    /// Epochs: one a second for thirty years.
    public static let epoch: Int64 = 1_000_000_000
    /// Revisions, sequences and generations, which rise by one.
    public static let ordinal: Int64 = 1_000_000_000_000
    /// Requests held, in flight, refused or released on one node.
    public static let requests = 1_000_000_000
    /// Requests that one gate holds at once.
    public static let held = 100_000
    /// Bytes on a disk: an exbibyte. A node says no more than this of a larger disk.
    public static let bytes: Int64 = 1 << 60
    /// Any length of time: ten years.
    public static let span = Span(milliseconds: 315_360_000_000)
    /// How long a request is held, or a lease lasts.
    public static let hold = Span.minutes(60)
    /// What `Retry-After` says.
    public static let retryAfter = Span.minutes(24 * 60)
    /// The end of the year 9999.
    public static let instant = Instant(milliseconds: 253_402_300_799_999)
    /// Good answers in a row.
    public static let consecutive = 1000
    /// Releases left on a disk.
    public static let releases = 10_000
}

/// Compares the parts of one message with their bounds and keeps the first that is outside.
struct BoundCheck {
    private(set) var problem: String?

    mutating func number<Number: BinaryInteger>(_ name: String, _ value: Number?, _ most: Number) {
        guard problem == nil, let value, value < 0 || value > most else { return }
        problem =
            value < 0
            ? "\(name) is negative" : "\(name) is \(value), and at most \(most) is allowed"
    }

    mutating func span(_ name: String, _ value: Span?, _ most: Span = Bounds.span) {
        guard problem == nil, let value, value < .zero || value > most else { return }
        problem =
            value < .zero
            ? "\(name) is negative"
            : "\(name) is \(value.milliseconds) ms, and at most \(most.milliseconds) are allowed"
    }

    mutating func entries(_ name: String, _ count: Int) {
        guard problem == nil, count > Bounds.entries else { return }
        problem = "it has \(count) \(name), and \(Bounds.entries) are allowed"
    }

    mutating func text(_ name: String, _ value: String?, _ most: Int = Bounds.text) {
        guard problem == nil, let value, value.utf8.count > most else { return }
        problem = "a text under \(name) has \(value.utf8.count) bytes, and \(most) are allowed"
    }

    /// Printable ASCII without spaces: it stands in logs and in the names of files.
    mutating func word(_ name: String, _ value: String?) {
        text(name, value, Bounds.word)
        guard problem == nil, let value, !value.utf8.allSatisfy({ (33...126).contains($0) }) else {
            return
        }
        problem = "\(name) has characters other than printable ASCII"
    }
}
