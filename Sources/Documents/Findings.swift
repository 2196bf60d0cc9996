// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The diagnostics of one document, collected while it is read.
public struct Findings: Sendable {
    /// More than a person reads at once; what exceeds it is counted only.
    public static let limit = 200

    public let file: String
    /// Whether the document was found valid before, as the plan of a run that was started with it.
    let isStored: Bool
    public private(set) var list: [Diagnostic] = []
    private var omitted = 0

    /// How many there have been, shown or not.
    var count: Int { list.count + omitted }

    /// Whether more are only counted: then nobody reads what a message costs to find.
    var isFull: Bool { list.count >= Findings.limit }

    public init(file: String, isStored: Bool = false) {
        self.file = file
        self.isStored = isStored
    }

    public var hasErrors: Bool { list.contains { $0.severity == .error } }

    /// The position of what has no other: the first line.
    public var start: Diagnostic.Position { position(line: 1, column: 1) }

    public func position(line: Int, column: Int) -> Diagnostic.Position {
        Diagnostic.Position(file: file, line: line, column: column)
    }

    public mutating func error(
        _ code: String, at position: Diagnostic.Position, _ message: String, advice: String? = nil
    ) {
        add(Diagnostic(.error, code: code, at: position, message, advice: advice))
    }

    /// An error in a document that is handed in, and nothing in one that was found valid before.
    ///
    /// For every rule that can be done without, and so for each that is added later: a run under way is not lost because a
    /// newer program would not start it.
    public mutating func errorUnlessStored(
        _ code: String, at position: Diagnostic.Position, _ message: String, advice: String
    ) {
        if !isStored { error(code, at: position, message, advice: advice) }
    }

    public mutating func warning(
        _ code: String, at position: Diagnostic.Position, _ message: String, advice: String? = nil
    ) {
        add(Diagnostic(.warning, code: code, at: position, message, advice: advice))
    }

    private mutating func add(_ diagnostic: Diagnostic) {
        if list.count < Findings.limit { list.append(diagnostic) } else { omitted += 1 }
    }

    /// In the order of the text, each once, with a last line when there were too many.
    public func finished() -> [Diagnostic] {
        func isBefore(_ left: Diagnostic, _ right: Diagnostic) -> Bool {
            let positions = [left.position, right.position].map { ($0?.line ?? 0, $0?.column ?? 0) }
            return positions[0] == positions[1]
                ? (left.code, left.message) < (right.code, right.message)
                : positions[0] < positions[1]
        }
        var sorted: [Diagnostic] = []
        for diagnostic in list.sorted(by: isBefore) where diagnostic != sorted.last {
            sorted.append(diagnostic)
        }
        if omitted > 0, let position = sorted.last?.position {
            sorted.append(
                Diagnostic(
                    .error, code: "too-many", at: position,
                    "\(omitted) more findings are not shown",
                    advice: "correct these first"))
        }
        return sorted
    }
}

/// A piece of the document for a message: short, on one line, and never a secret.
public func quoted(_ text: String) -> String {
    if Secret.isIn(text) { return "the value (not shown: it looks like a secret)" }
    let safe = String(
        text.prefix(40).unicodeScalars.map {
            isControl($0) ? " " : Character($0)
        })
    return text.count > 40 ? "`\(safe)…`" : "`\(safe)`"
}
