// SPDX-License-Identifier: Apache-2.0

/// Processes of the old release that ran although writes were open already: something has started them again. The agent ends
/// each as soon as it finds it.
public struct LateProcesses: Hashable, Codable, Sendable {
    /// Since the release was first silent.
    public var count: Int
    /// The last of them, for people: what each was, and whom it was connected to.
    public var examples: [String]

    public static let mostExamples = 5

    public init(count: Int, examples: [String]) {
        self.count = count
        self.examples = examples
    }

    /// `2 processes: python3 4711 (was started for it; connected to 10.0.0.5:5432 from port 41234)`
    public var description: String {
        let what = count == 1 ? "1 process" : "\(count) processes"
        return examples.isEmpty ? what : "\(what): \(examples.joined(separator: ", "))"
    }
}
