// SPDX-License-Identifier: Apache-2.0

/// One finding about an input: what, where, and what to do instead.
public struct Diagnostic: Error, Hashable, Codable, Sendable, CustomStringConvertible {
    public enum Severity: String, Codable, Sendable {
        case error, warning, note
    }

    /// A position in a text file. Line and column count from 1.
    public struct Position: Hashable, Codable, Sendable {
        public var file: String
        public var line: Int
        public var column: Int

        public init(file: String, line: Int, column: Int) {
            self.file = file
            self.line = line
            self.column = column
        }
    }

    public var severity: Severity
    /// A stable word for programs, such as `unknown-key`.
    public var code: String
    public var position: Position?
    /// What is wrong.
    public var message: String
    /// What to write or do instead.
    public var advice: String?

    private enum CodingKeys: String, CodingKey {
        case severity, code, message, advice
        case position = "place"
    }

    public init(
        _ severity: Severity, code: String, at position: Position? = nil, _ message: String,
        advice: String? = nil
    ) {
        self.severity = severity
        self.code = code
        self.position = position
        self.message = message
        self.advice = advice
    }

    /// `plan.yaml:12:5: error: message (advice) [code]`
    public var description: String {
        let location = position.map { "\($0.file):\($0.line):\($0.column): " } ?? ""
        let advice = advice.map { "; \($0)" } ?? ""
        return "\(location)\(severity.rawValue): \(message)\(advice) [\(code)]"
    }
}
