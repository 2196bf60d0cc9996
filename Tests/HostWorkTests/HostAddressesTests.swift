// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import HostWork

@Suite struct HostAddressesTests {
    /// As Linux 6.1 writes it.
    private static let trie = """
        Main:
          +-- 0.0.0.0/0 3 0 5
             |-- 0.0.0.0
                /0 universe UNICAST
             +-- 10.0.0.0/24 2 0 2
                |-- 10.0.0.0
                   /24 link UNICAST
                |-- 10.0.0.5
                   /32 host LOCAL
                |-- 10.0.0.255
                   /32 link BROADCAST
             +-- 127.0.0.0/8 2 0 2
                |-- 127.0.0.1
                   /32 host LOCAL
        """

    private static let links = """
        00000000000000000000000000000001 01 80 10 80       lo
        20010db8000000000000000000000001 02 40 00 80     eth0
        fd000000000100020000000000000003 02 40 00 80     eth0
        20010db8000100020003000400050006 02 40 00 80     eth0
        fe80000000000000020c29fffe000001 02 40 20 80     eth0
        """

    @Test func addressesAreWrittenAsAServerWritesThem() {
        #expect(HostAddresses.v4(Self.trie) == ["10.0.0.5"])
        #expect(
            HostAddresses.v6(Self.links) == [
                "2001:db8::1", "fd00:0:1:2::3", "2001:db8:1:2:3:4:5:6",
            ])
    }

    @Test func ofThisMachineNoneIsLoopback() {
        #expect(!HostAddresses.now().contains { $0.hasPrefix("127.") || $0 == "::1" })
        #expect(HostAddresses.now().count <= 64)
    }
}
