// SPDX-License-Identifier: Apache-2.0

internal import Files

/// The addresses of this machine, as others see it: `/proc/net/fib_trie` and `/proc/net/if_inet6`, without loopback and links.
public enum HostAddresses {
    /// At most 64, sorted; none where the kernel does not say.
    public static func now() -> [String] {
        let tables = ["/proc/net/fib_trie", "/proc/net/if_inet6"].map {
            (try? readTextFile($0, atMost: 4 << 20)) ?? ""
        }
        return Array(Set(v4(tables[0]) + v6(tables[1])).sorted().prefix(64))
    }

    /// `|-- 10.0.0.5`, and below it `/32 host LOCAL`.
    static func v4(_ table: String) -> [String] {
        var addresses: [String] = []
        var last = ""
        for line in table.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == "|--" { last = String(words[1]) }
            if words.suffix(3) == ["/32", "host", "LOCAL"], !last.hasPrefix("127.") {
                addresses.append(last)
            }
        }
        return addresses
    }

    /// `20010db8000000000000000000000001 02 40 00 80 eth0`: digits, link, prefix, scope (00 is global), flags, name.
    static func v6(_ table: String) -> [String] {
        table.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count == 6, words[0].count == 32, words[3] == "00" else { return nil }
            let digits = Array(words[0])
            let groups = stride(from: 0, to: 32, by: 4).compactMap {
                UInt16(String(digits[$0..<($0 + 4)]), radix: 16)
            }
            return groups.count == 8 ? written(groups) : nil
        }
    }

    /// As RFC 5952 has it: the first longest run of zeros, of two at least, is left out.
    static func written(_ groups: [UInt16]) -> String {
        var best = 0..<0
        var start = 0
        while start < groups.count {
            let end = groups[start...].firstIndex { $0 != 0 } ?? groups.count
            if end - start > best.count { best = start..<end }
            start = max(end, start + 1)
        }
        func text(_ part: ArraySlice<UInt16>) -> String {
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        guard best.count > 1 else { return text(groups[...]) }
        return text(groups[..<best.lowerBound]) + "::" + text(groups[best.upperBound...])
    }
}
