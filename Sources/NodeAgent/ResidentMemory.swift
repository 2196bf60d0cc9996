// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Gives back the pages of the program itself that only its start needed: reading YAML and arguments touches most of the code that
/// is linked in, and an agent that waits for months needs little of it.
///
/// Only the program's code. It is a clean copy of the file, so what is needed again comes from the page cache (madvise(2),
/// `MADV_DONTNEED` on a file mapping). Read-only data is not: the loader has written addresses into a part of it. Best effort.
func releaseStartPages() {
    guard case .success(let maps) = readText("/proc/self/maps", atMost: 4 << 20) else { return }
    var program = [CChar](repeating: 0, count: 4096)
    let length = readlink("/proc/self/exe", &program, program.count - 1)
    guard length > 0 else { return }
    let path = String(decoding: program[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    for line in maps.split(separator: "\n") where line.hasSuffix(" " + path) {
        let columns = line.split(separator: " ")
        let bounds = columns[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        guard columns.count > 1, columns[1] == "r-xp", bounds.count == 2,
            // SAFETY: the range is a mapping of this process's own code, never written to, so its content stays the
            // same; nothing is read or written through the pointer here.
            let start = UnsafeMutableRawPointer(bitPattern: bounds[0])
        else { continue }
        madvise(start, Int(bounds[1] - bounds[0]), MADV_DONTNEED)
    }
}
