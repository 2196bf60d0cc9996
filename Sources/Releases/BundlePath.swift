// SPDX-License-Identifier: Apache-2.0

/// The path of a file within a bundle: relative, in normal form, and not able to lead out of it.
///
/// Compared byte by byte, as Linux compares file names, not by Unicode equivalence.
public struct BundlePath: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Components separated by single slashes.
    public let text: String

    public static let maximumBytes = 512
    /// Directories above one file. Package managers nest a dozen deep; each level of a hostile path costs memory on every node.
    public static let maximumDepth = 64

    /// - Throws: the reason, as the end of the sentence "the path … ".
    public init(_ text: String) throws(Reason) {
        guard !text.isEmpty else { throw Reason("is empty") }
        guard text.utf8.count <= BundlePath.maximumBytes else {
            throw Reason("is longer than \(BundlePath.maximumBytes) bytes")
        }
        guard text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else {
            throw Reason("has a control character")
        }
        guard !text.utf8.starts(with: "/".utf8) else { throw Reason("is absolute") }
        guard text.utf8.count(where: { $0 == 47 }) <= BundlePath.maximumDepth else {
            throw Reason("lies more than \(BundlePath.maximumDepth) directories deep")
        }
        for component in text.utf8.split(separator: 47, omittingEmptySubsequences: false) {
            guard !component.isEmpty else { throw Reason("has an empty component") }
            guard !component.elementsEqual(".".utf8), !component.elementsEqual("..".utf8) else {
                throw Reason("has a . or .. component")
            }
            guard component.count <= 255 else {
                throw Reason("has a component of more than 255 bytes")
            }
        }
        self.text = text
    }

    private init(unchecked text: some StringProtocol) { self.text = String(text) }

    /// Why a text is not a path.
    public struct Reason: Error, Hashable, Sendable {
        public let text: String
        init(_ text: String) { self.text = text }
    }

    public var description: String { text }

    /// The directory that holds it; `nil` at the top.
    public var parent: BundlePath? {
        text.utf8.lastIndex(of: 47).map { BundlePath(unchecked: text[..<$0]) }
    }

    /// What is left of the path beneath a directory; `nil` when it is not beneath it.
    public func relative(to directory: BundlePath) -> BundlePath? {
        let prefix = directory.text.utf8
        guard text.utf8.starts(with: prefix), text.utf8.dropFirst(prefix.count).first == 47 else {
            return nil
        }
        return BundlePath(unchecked: Substring(text.utf8.dropFirst(prefix.count + 1)))
    }

    /// The file beside this one that it is a compressed copy or the source map of, by its name; `nil` for others.
    public var madeFrom: BundlePath? {
        for ending in [".gz", ".br", ".zst", ".map"] where text.utf8.count > ending.utf8.count {
            let kept = text.utf8.count - ending.utf8.count
            guard text.utf8.dropFirst(kept).elementsEqual(ending.utf8) else { continue }
            return BundlePath(unchecked: Substring(text.utf8.prefix(kept)))
        }
        return nil
    }

    public static func == (left: BundlePath, right: BundlePath) -> Bool {
        left.text.utf8.elementsEqual(right.text.utf8)
    }

    public static func < (left: BundlePath, right: BundlePath) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    public func hash(into hasher: inout Hasher) {
        // SAFETY: the bytes are read during the call only. In one piece: a manifest has a hundred thousand paths.
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(UInt8(255))
    }
}
