// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What a release needs of the node that it comes to, as its bundle says it in one file: paths that have to be there, and answers that
/// an action of the node has to give.
///
/// ```
/// # a comment
/// path /usr/lib/x86_64-linux-gnu/libpq.so.5
/// answer python-version Python 3.11.*
/// ```
///
/// It names no program: what an action runs is said in the configuration of each node, which allows it to be asked.
public struct ReleaseNeeds: Hashable, Sendable {
    /// At the top of a bundle.
    public static let file = ".sluice-needs"
    static let sizeLimit = 64 << 10
    private static let needsLimit = 100

    public enum Need: Hashable, Sendable {
        /// Something is at this absolute path, links followed.
        case path(String)
        /// The last line of what the action prints is this text, or begins with what stands before a `*` at its end.
        case answer(of: ActionName, expected: String)
    }

    public private(set) var needs: [Need] = []

    /// - Parameter name: the file's, for the places of findings.
    /// - Throws: ``Bundle/NotABundle`` with every line that says nothing.
    public init(parsing text: String, of name: String = file) throws(Bundle.NotABundle) {
        var findings: [Diagnostic] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let words = line.split(separator: " ", maxSplits: 2).map(String.init)
            guard let kind = words.first, !kind.hasPrefix("#") else { continue }
            if let need = ReleaseNeeds.need(kind, line, words) {
                needs.append(need)
            } else if findings.count < 100 {
                findings.append(
                    Diagnostic(
                        .error, code: "bundle-needs",
                        at: .init(file: name, line: index + 1, column: 1),
                        "\(shown(line)) is no need",
                        advice:
                            "write `path /ABSOLUTE/PATH`, or `answer ACTION TEXT`, where TEXT may end with *"
                    ))
            }
        }
        if needs.count > ReleaseNeeds.needsLimit {
            findings.append(
                Diagnostic(
                    .error, code: "bundle-needs",
                    "\(name) has \(needs.count) needs, and at most \(ReleaseNeeds.needsLimit) are looked at"
                ))
        }
        guard findings.isEmpty else { throw Bundle.NotABundle(findings: findings) }
    }

    private static func need(_ kind: String, _ line: Substring, _ words: [String]) -> Need? {
        guard line.utf8.count <= 1000, line.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else {
            return nil
        }
        switch kind {
        case "path":
            // A path may have spaces in it.
            let path = String(line.drop { $0 == " " }.dropFirst(5).drop { $0 == " " })
            return path.hasPrefix("/") ? .path(path) : nil
        case "answer":
            guard words.count == 3, let action = ActionName(rawValue: words[1]) else { return nil }
            let expected = words[2].drop { $0 == " " }
            return expected.isEmpty || expected == "*"
                ? nil : .answer(of: action, expected: String(expected))
        default: return nil
        }
    }

    /// Whether an answer is the one that is expected.
    public static func fits(_ answer: String, _ expected: String) -> Bool {
        guard expected.hasSuffix("*") else { return answer == expected }
        return answer.utf8.starts(with: expected.dropLast().utf8)
    }

    /// What the bundle in a directory needs; nothing where it says nothing.
    ///
    /// - Throws: ``ReleaseFailure/Code/unfinished`` when the file cannot be read as what it should be.
    public static func read(in directory: String) throws(ReleaseFailure) -> [Need] {
        let files = FileSystem()
        let path = "\(directory)/\(file)"
        guard try files.status(path)?.kind == .file else { return [] }
        let bytes = try files.read(path, limit: sizeLimit)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ReleaseFailure(.unfinished, "the bundle's \(file) is not UTF-8")
        }
        do throws(Bundle.NotABundle) { return try ReleaseNeeds(parsing: text).needs } catch {
            throw ReleaseFailure(.unfinished, error.description)
        }
    }
}
