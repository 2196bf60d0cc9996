// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Gives back the pages of code that only what has just ended needed: the start, which reads YAML and arguments, or a run.
///
/// An agent waits for months between two runs and needs little of what is linked in. Only code: it is a clean copy of a file, so
/// what is needed again comes from the page cache (madvise(2), `MADV_DONTNEED` on a file mapping). Read-only data is not: the
/// loader has written addresses into a part of it. Best effort.
func releaseIdleCode() {
    guard case .success(let maps) = readText("/proc/self/maps", atMost: 4 << 20) else { return }
    for line in maps.split(separator: "\n") {
        let columns = line.split(separator: " ", omittingEmptySubsequences: true)
        guard columns.count == 6, columns[1] == "r-xp", columns[5].hasPrefix("/") else { continue }
        let bounds = columns[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        // SAFETY: the range is a mapping of code of this process, never written to, so its content stays the same; nothing is
        // read or written through the pointer here.
        guard bounds.count == 2, let start = UnsafeMutableRawPointer(bitPattern: bounds[0]) else {
            continue
        }
        madvise(start, Int(bounds[1] - bounds[0]), MADV_DONTNEED)
    }
}
