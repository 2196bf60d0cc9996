// SPDX-License-Identifier: Apache-2.0

import CurlClient
import Testing

@Suite struct HTTPAddressTests {
    @Test(arguments: [
        "http://127.0.0.1:9740", "http://127.255.3.9/x", "http://localhost", "http://LOCALHOST:1",
        "http://localhost.:80/", "http://[::1]:9740", "http://[0:0:0:0:0:0:0:1]",
        "http://[::ffff:127.0.0.1]:1",
    ])
    func whatIsSentToALoopbackAddressStaysOnThisMachine(url: String) throws {
        let address = try #require(HTTPAddress(url))
        #expect(address.isThisMachine && !address.isInClear)
    }

    /// Names that begin like an address of this machine are names of others, and so is every other spelling of an address.
    @Test(arguments: [
        "http://127.evil.example", "http://127.0.0.1.evil.example", "http://localhost.evil.example",
        "http://localhost-evil:80", "http://127", "http://127.1", "http://0177.0.0.1",
        "http://2130706433", "http://0.0.0.0", "http://[::]", "http://[::2]",
        "http://[::ffff:10.0.0.1]", "http://[fe80::1]", "http://10.0.0.1", "http://sluice:9740",
    ])
    func anyOtherHostIsNotThisMachine(url: String) throws {
        let address = try #require(HTTPAddress(url))
        #expect(!address.isThisMachine && address.isInClear)
    }

    @Test func whatIsEncryptedIsNotInClearWhereverItGoes() throws {
        let address = try #require(HTTPAddress("https://Sluice.Example:9740/base"))
        #expect(!address.isInClear && !address.isThisMachine)
        #expect(address.host == "sluice.example" && address.port == 9740)
    }

    @Test(arguments: [
        "", "b:1", "ftp://a", "http://", "http:///x", "http://u:p@a", "http://a?x", "http://a#x",
        "http://a b", "http://a\\b", "http://[::1", "http://[localhost]", "http://a:0",
        "http://a:65536", "http://a:1:2", "http://a:x", "http://\u{E9}.example",
        "http://127.0.0.1@evil.example", "http://127.0.0.1\\@evil.example",
    ])
    func whatIsNoPlainAddressIsNone(url: String) {
        #expect(HTTPAddress(url) == nil)
    }
}
