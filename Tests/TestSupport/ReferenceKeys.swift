// SPDX-License-Identifier: Apache-2.0

/// A key of a reference file, with the comment above it.
public struct ReferenceKey {
    /// `rollout.health.check`
    public var path: String
    /// The comment but for its last line.
    public var explanation: String
    /// The last line of the comment: `[name; required]`.
    public var annotation: String
    /// Whether the key stood in the file before, as in the second item of a list.
    public var isRepeated: Bool
}

/// Every key of a reference file in order, those behind a `#` included.
///
/// - Parameter named: the sections whose keys are names of the writer's own, which are no part of a path.
public func referenceKeys(_ text: String, named: Set<String> = []) -> [ReferenceKey] {
    var sections: [(indent: Int, name: String)] = []
    var comment: [String] = []
    var keys: [ReferenceKey] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
        let parts = line.firstMatch(of: /^( *)(- |#)?([a-z_-]+):/)
        guard let parts, !line.contains(#/^ *# /#) else {
            let text = line.drop { $0 == " " || $0 == "#" }
            comment = line.isEmpty ? [] : comment + [String(text)]
            continue
        }
        let indent = parts.1.count + (parts.2 == "- " ? 2 : 0)
        sections.removeAll { $0.indent >= indent }
        let parents = sections.map(\.name).filter { !$0.isEmpty }
        let isName = parents.count == 1 && sections.count == 1 && named.contains(parents[0])
        if isName {
            sections.append((indent, ""))
            continue
        }
        let name = String(parts.3)
        let path = (parents + [name]).joined(separator: ".")
        sections.append((indent, name))
        keys.append(
            ReferenceKey(
                path: path, explanation: comment.dropLast().joined(separator: " "),
                annotation: comment.last ?? "", isRepeated: keys.contains { $0.path == path }))
        comment = []
    }
    return keys
}
