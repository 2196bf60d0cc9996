// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// Many small blobs in one body: of each its digest (32 bytes), its length (4 bytes, the highest first), and its bytes.
///
/// A bundle of 20,000 files would be 20,000 requests otherwise, each way.
public enum BlobPack {
    /// Bytes of a blob in a pack at most; what is larger travels by itself.
    public static let blobBytes = 256 * 1024
    /// Blobs in one pack.
    public static let blobs = 1024
    /// Bytes of one pack, with digests and lengths.
    public static let bytes = blobs * 36 + 8 * 1024 * 1024
    /// Bytes of a list of digests.
    public static let listBytes = blobs * 65

    /// Digests as text, each on a line of its own.
    public static func list(_ digests: some Sequence<Digest>) -> [UInt8] {
        digests.flatMap { $0.hexadecimal.utf8 + [10] }
    }

    /// - Returns: `nil` unless it is a list of one to ``blobs`` digests.
    public static func digests(inList text: [UInt8]) -> [Digest]? {
        var digests: [Digest] = []
        for line in text.split(separator: 10) {
            guard digests.count < blobs, let digest = Digest(String(decoding: line, as: UTF8.self))
            else { return nil }
            digests.append(digest)
        }
        return digests.isEmpty ? nil : digests
    }

    /// What comes before the bytes of a blob.
    public static func head(_ digest: Digest, count: Int) -> [UInt8] {
        let length = UInt32(clamping: count)
        return digest.bytes
            + stride(from: UInt32(24), through: 0, by: -8).map {
                UInt8(truncatingIfNeeded: length >> $0)
            }
    }

    /// Divides blobs by their sizes into what fits a pack each, in their order; what is too large for any is left out.
    public static func packs<Blob>(of found: [Blob], size: (Blob) -> Int64) -> [[Blob]] {
        var packs: [[Blob]] = []
        var room: Int64 = 0
        for blob in found where size(blob) <= blobBytes {
            let needed = size(blob)
            if packs.last.map({ $0.count < blobs / 2 }) == true, needed <= room {
                packs[packs.count - 1].append(blob)
                room -= needed
            } else {
                packs.append([blob])
                room = 2 * 1024 * 1024 - needed
            }
        }
        return packs
    }

    public struct Malformed: Error { public init() {} }

    /// Reads a pack as it arrives; holds one blob and what came after it at most.
    public struct Reader: Sendable {
        private var pending: [UInt8] = []
        private var count = 0

        public init() {}

        /// Whether nothing is left of a blob that has begun.
        public var isAtEnd: Bool { pending.isEmpty }

        /// - Returns: the blobs that are whole now, their digests as they were said.
        /// - Throws: ``Malformed`` when a blob is longer than ``BlobPack/blobBytes``, or there are more than ``BlobPack/blobs``.
        public mutating func read(
            _ bytes: some Sequence<UInt8>
        ) throws(Malformed) -> [(digest: Digest, bytes: [UInt8])] {
            pending.append(contentsOf: bytes)
            var found: [(digest: Digest, bytes: [UInt8])] = []
            var start = 0
            while pending.count - start >= 36 {
                let length = pending[start + 32..<start + 36].reduce(0) { $0 << 8 | Int($1) }
                guard length <= BlobPack.blobBytes, count < BlobPack.blobs else {
                    throw Malformed()
                }
                let begin = start + 36
                guard pending.count - begin >= length else { break }
                let digest = Digest(bytes: pending[start..<start + 32])
                found.append((digest, Array(pending[begin..<begin + length])))
                start = begin + length
                count += 1
            }
            if start > 0 { pending.removeFirst(start) }
            return found
        }
    }
}
