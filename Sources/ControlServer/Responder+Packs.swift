// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Coordinator
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import RunStore
import UpgradeModel

/// Many small blobs in one request.
extension ControlResponder {
    /// Bytes of blobs that are held in memory at once for one request.
    private static let batch = 512 * 1024

    func missingBlobs(_ request: Request) async throws(APIError) -> Response {
        let asked = try await digests(request)
        do throws(StoreFailure) {
            let missing = try await blobs.missing(of: asked, renews: true)
            return .text(
                String(decoding: BlobPack.list(missing), as: UTF8.self),
                type: "text/plain; charset=utf-8")
        } catch {
            throw APIError(error)
        }
    }

    /// The blobs in the order in which they were asked for.
    func readPack(_ request: Request) async throws(APIError) -> Response {
        let asked = try await digests(request)
        var found: [(digest: Digest, size: Int)] = []
        do throws(StoreFailure) {
            for digest in asked {
                guard let size = try await blobs.size(of: digest) else {
                    throw StoreFailure.notFound("blob \(digest)")
                }
                found.append((digest, Int(clamping: size)))
            }
        } catch {
            throw APIError(error)
        }
        if let large = found.first(where: { $0.size > BlobPack.blobBytes }) {
            throw .malformed("blob \(large.digest.short) is too large for a pack")
        }
        let length = found.reduce(0) { $0 + 36 + $1.size }
        guard length <= BlobPack.bytes else {
            throw .tooLarge("pack", limit: Int64(BlobPack.bytes))
        }
        let blobs = blobs
        let wanted = found
        let body = ResponseBody(contentLength: length) { writer in
            var rest = wanted[...]
            while !rest.isEmpty {
                var room = Self.batch
                let batch = rest.prefix { blob in
                    defer { room -= blob.size }
                    return room > 0
                }
                rest = rest.dropFirst(batch.count)
                let contents = try await blobs.readWhole(
                    batch.map(\.digest), limit: BlobPack.blobBytes)
                var buffer = ByteBuffer()
                for (blob, bytes) in zip(batch, contents) {
                    // The length has been said: what is not as it was breaks the answer off.
                    guard bytes.count == blob.size else {
                        throw StoreFailure.io("blob \(blob.digest.short) has changed")
                    }
                    buffer.writeBytes(BlobPack.head(blob.digest, count: bytes.count))
                    buffer.writeBytes(bytes)
                }
                try await writer.write(buffer)
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "application/octet-stream", .cacheControl: "no-store"],
            body: body)
    }

    func storePack(
        _ request: Request, from name: OperatorName
    ) async throws(APIError) -> Response {
        let refusal = APIError.tooLarge("pack", limit: Int64(BlobPack.bytes))
        if let announced = request.announcedLength, announced > BlobPack.bytes { throw refusal }
        guard let slot = uploads.acquire(for: name) else { throw .tooManyUploads }
        defer { withExtendedLifetime(slot) {} }
        do {
            var reader = BlobPack.Reader()
            var batch: [(digest: Digest, bytes: [UInt8])] = []
            var size = 0
            var held = 0
            for try await part in request.body {
                size += part.readableBytes
                guard size <= BlobPack.bytes else { throw refusal }
                for blob in try reader.read(part.readableBytesView) {
                    held += blob.bytes.count
                    batch.append(blob)
                }
                if held >= 2 * Self.batch {
                    try await blobs.store(batch)
                    (batch, held) = ([], 0)
                }
            }
            guard reader.isAtEnd else { throw APIError.malformed("the pack ended early") }
            if !batch.isEmpty { try await blobs.store(batch) }
        } catch let error as APIError {
            throw error
        } catch let failure as StoreFailure {
            throw APIError(failure)
        } catch is BlobPack.Malformed {
            throw .malformed("the body is no pack of blobs")
        } catch {
            throw .malformed("the body ended early")
        }
        var response = Response(status: .noContent)
        response.headers[.contentLength] = nil
        return response
    }

    private func digests(_ request: Request) async throws(APIError) -> [Digest] {
        let refusal = APIError.tooLarge("list of blobs", limit: Int64(BlobPack.listBytes))
        if let announced = request.announcedLength, announced > BlobPack.listBytes { throw refusal }
        var text: [UInt8] = []
        do {
            for try await part in request.body {
                guard text.count + part.readableBytes <= BlobPack.listBytes else { throw refusal }
                text.append(contentsOf: part.readableBytesView)
            }
        } catch let error as APIError {
            throw error
        } catch {
            throw .malformed("the body ended early")
        }
        guard let digests = BlobPack.digests(inList: text) else {
            throw .malformed("the body is no list of at most \(BlobPack.blobs) digests")
        }
        return digests
    }
}
