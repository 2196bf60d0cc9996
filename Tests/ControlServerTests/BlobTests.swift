// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import CurlClient
import RunStore
import StoreTestSupport
import Testing
import UpgradeModel

@testable import ControlServer

@Suite struct BlobTests {
    private let bytes = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }

    @Test
    func comeBackAsTheyWereSentWholeByRangeAndBySize() async throws {
        let bytes = bytes
        try await RunningServer.run { server in
            let path = Path.blob(.sha256(of: bytes))
            #expect(try await server.send(.get, path, as: .node).status == 404)
            #expect(
                try await server.send(.put, path, as: .person, body: .bytes(bytes)).status == 201)
            #expect(
                try await server.send(.put, path, as: .person, body: .bytes(bytes)).status == 200)
            let whole = try await server.send(.get, path, as: .node)
            #expect(whole.status == 200)
            #expect(whole.body == bytes)
            let head = try await server.send(.head, path, as: .person)
            #expect(head.status == 200)
            #expect(head.head.first("Content-Length") == "700000")
            let part = try await server.send(
                .get, path, as: .node, range: HTTPRange(from: 1000, through: 1999))
            #expect(part.status == 206)
            #expect(part.body == Array(bytes[1000..<2000]))
            #expect(part.head.first("Content-Range") == "bytes 1000-1999/700000")
            let rest = try await server.send(.get, path, as: .node, range: HTTPRange(from: 699_999))
            #expect(rest.body == [bytes[699_999]])
            let beyond = try await server.send(
                .get, path, as: .node, range: HTTPRange(from: 700_000))
            #expect(beyond.status == 416)
            #expect(beyond.head.first("Content-Range") == "bytes */700000")
        }
    }

    @Test
    func travelManyAtOnceBothWays() async throws {
        let contents = (0..<300).map { Array("file \($0)".utf8) } + [[]]
        let digests = contents.map { Digest.sha256(of: $0) }
        let list = HTTPBody.bytes(BlobPack.list(digests))
        try await RunningServer.run { server in
            let before = try await server.send(.post, Path.missingBlobs, as: .person, body: list)
            #expect(before.status == 200)
            #expect(BlobPack.digests(inList: before.body) == digests)
            #expect(
                try await server.send(.post, Path.readPack, as: .node, body: list).status == 404)
            let pack = zip(digests, contents).flatMap { BlobPack.head($0, count: $1.count) + $1 }
            let stored = try await server.send(
                .post, Path.storePack, as: .person, body: .bytes(pack))
            #expect(stored.status == 204)
            let after = try await server.send(.post, Path.missingBlobs, as: .person, body: list)
            #expect(after.status == 200 && after.body.isEmpty)
            let read = try await server.send(.post, Path.readPack, as: .node, body: list)
            #expect(read.status == 200)
            var reader = BlobPack.Reader()
            let found = try reader.read(read.body)
            #expect(reader.isAtEnd)
            #expect(found.map(\.digest) == digests && found.map(\.bytes) == contents)
        }
    }

    @Test
    func inPacksAreRefusedWithOtherBytesCutOffTooLargeAndFromNodes() async throws {
        let digest = Digest.sha256(of: "a")
        let large = bytes
        try await RunningServer.run { server in
            func store(_ pack: [UInt8]) async throws -> Int {
                try await server.send(.post, Path.storePack, as: .person, body: .bytes(pack)).status
            }
            #expect(try await store(BlobPack.head(digest, count: 1) + Array("b".utf8)) == 422)
            #expect(try await store(BlobPack.head(digest, count: 2) + Array("a".utf8)) == 400)
            #expect(try await store(BlobPack.head(digest, count: 1 << 24)) == 400)
            #expect(
                try await store([UInt8](repeating: 0, count: BlobPack.bytes + 1)) == 413)
            #expect(try await server.blobs.size(of: digest) == nil)
            #expect(
                try await server.send(
                    .post, Path.storePack, as: .node,
                    body: .bytes(BlobPack.head(digest, count: 1) + Array("a".utf8))
                ).status == 403)
            #expect(
                try await server.send(
                    .post, Path.readPack, as: .node, body: .bytes(Array("x\n".utf8))
                ).status == 400)
            let path = Path.blob(.sha256(of: large))
            _ = try await server.send(.put, path, as: .person, body: .bytes(large))
            #expect(
                try await server.send(
                    .post, Path.readPack, as: .node,
                    body: .bytes(BlobPack.list([.sha256(of: large)]))
                ).status == 400, "what is too large for a pack travels by itself")
        }
    }

    @Test
    func withAnotherDigestThanTheySayAreRefusedAndNothingIsKept() async throws {
        let bytes = bytes
        try await RunningServer.run { server in
            let digest = Digest.sha256(of: "something else")
            let answer = try await server.send(
                .put, Path.blob(digest), as: .person, body: .bytes(bytes))
            #expect(answer.status == 422)
            #expect(try answer.error.code == "refused")
            #expect(try await server.blobs.size(of: digest) == nil)
            // The next request on a new connection is answered as ever.
            #expect(try await server.send(.get, Path.nodes, as: .person).status == 200)
        }
    }

    @Test(
        arguments: [
            (nil, ByteRange.whole), ("bytes=0-", .part(0..<100)), ("bytes=0-0", .part(0..<1)),
            ("bytes=10-19", .part(10..<20)), ("bytes=90-200", .part(90..<100)),
            ("bytes=-5", .part(95..<100)),
            ("bytes=-500", .part(0..<100)), ("bytes=100-", .unsatisfiable),
            ("bytes=-0", .unsatisfiable),
            ("bytes=5-4", .whole), ("bytes=0-1,5-6", .whole), ("items=0-1", .whole),
            ("bytes=", .whole),
            ("bytes=a-b", .whole), ("bytes=99999999999999999999-", .whole), ("bytes=-", .whole),
        ] as [(String?, ByteRange)])
    func rangesAreReadAsRFC9110HasThem(_ header: String?, _ expected: ByteRange) {
        #expect(ByteRange(header: header, size: 100) == expected)
    }
}
