// SPDX-License-Identifier: Apache-2.0

/// The candidate that a misspelt word was most likely meant to be, `nil` when none is near.
///
/// A long word, or more candidates than a person would read, gets no suggestion: each comparison costs
/// the product of both lengths, and the word is anybody's.
public func nearest(to word: String, among candidates: [String]) -> String? {
    guard word.utf8.count <= 64, candidates.count <= 200 else { return nil }
    let plain = Array(normalized(word).utf8)
    guard !plain.isEmpty else { return nil }
    let best = candidates.map { ($0, distance(plain, Array(normalized($0).utf8))) }
        .min { ($0.1, $0.0) < ($1.1, $1.0) }
    guard let (candidate, distance) = best, distance <= max(1, (plain.count + 1) / 3) else {
        return nil
    }
    return candidate
}

/// How many letters have to be put in, left out, replaced or swapped with their neighbour.
///
/// The optimal string alignment distance, as in Damerau's "A technique for computer detection and
/// correction of spelling errors" (1964).
func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var table = [[Int]](
        repeating: [Int](repeating: 0, count: right.count + 1), count: left.count + 1)
    for row in 0...left.count { table[row][0] = row }
    for column in 0...right.count { table[0][column] = column }
    for row in left.indices.map({ $0 + 1 }) {
        for column in right.indices.map({ $0 + 1 }) {
            let cost = left[row - 1] == right[column - 1] ? 0 : 1
            var least = min(
                table[row - 1][column] + 1, table[row][column - 1] + 1,
                table[row - 1][column - 1] + cost)
            if row > 1, column > 1, left[row - 1] == right[column - 2],
                left[row - 2] == right[column - 1]
            {
                least = min(least, table[row - 2][column - 2] + 1)
            }
            table[row][column] = least
        }
    }
    return table[left.count][right.count]
}
