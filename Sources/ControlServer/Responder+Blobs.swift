// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Coordinator
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import RunStore
import UpgradeModel

extension ControlResponder {
    /// Bytes read from the store at once.
    private static let piece = 256 * 1024

    /// - Parameter renews: an operator asks, who is about to start a run with it.
    func readBlob(
        _ blob: Digest, isHead: Bool, range: String?, renews: Bool
    ) async throws(APIError) -> Response {
        guard let size = try await size(of: blob, renews: renews) else {
            throw APIError(.notFound, message: "there is no blob \(blob)")
        }
        var headers: HTTPFields = [
            .contentType: "application/octet-stream", .acceptRanges: "bytes", .eTag: "\"\(blob)\"",
            .cacheControl: "private, immutable",
        ]
        if isHead {
            headers[.contentLength] = "\(size)"
            return Response(status: .ok, headers: headers)
        }
        switch ByteRange(header: range, size: size) {
        case .whole:
            return Response(status: .ok, headers: headers, body: body(of: blob, 0..<size))
        case .part(let part):
            headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(size)"
            return Response(status: .partialContent, headers: headers, body: body(of: blob, part))
        case .unsatisfiable:
            var response = Response.error(
                APIError(
                    .range, message: "the blob has \(size) bytes, the range lies beyond"))
            response.headers[.contentRange] = "bytes */\(size)"
            return response
        }
    }

    private func body(of blob: Digest, _ range: Range<Int64>) -> ResponseBody {
        let blobs = blobs
        return ResponseBody(contentLength: Int(range.count)) { writer in
            var offset = range.lowerBound
            while offset < range.upperBound {
                let length = min(Self.piece, Int(range.upperBound - offset))
                let bytes = try await blobs.read(blob, offset: offset, length: length)
                if bytes.isEmpty { throw StoreFailure.io("blob \(blob.short) ends early") }
                try await writer.write(ByteBuffer(bytes: bytes))
                offset += Int64(bytes.count)
            }
            try await writer.finish(nil)
        }
    }

    private func size(of blob: Digest, renews: Bool) async throws(APIError) -> Int64? {
        do throws(StoreFailure) {
            return renews ? try await blobs.renew(blob) : try await blobs.size(of: blob)
        } catch {
            throw APIError(error)
        }
    }

    /// Receives a blob without holding it in memory; 201 when it is stored, 200 when it was there already.
    func storeBlob(
        _ blob: Digest, _ request: Request, from name: OperatorName
    ) async throws(APIError) -> Response {
        if let announced = request.announcedLength, announced > Limits.blob {
            throw .tooLarge("blob", limit: Limits.blob)
        }
        let isThere = try await size(of: blob, renews: true) != nil
        guard let slot = uploads.acquire(for: name) else { throw .tooManyUploads }
        defer { withExtendedLifetime(slot) {} }
        do {
            if isThere {
                try await discard(request.body)
            } else {
                try await receive(blob, request.body)
            }
        } catch let error as APIError {
            throw error
        } catch let failure as StoreFailure {
            throw APIError(failure)
        } catch {
            throw .malformed("the body ended early")
        }
        return Response(status: isThere ? .ok : .created)
    }

    private func discard(_ body: RequestBody) async throws {
        var size: Int64 = 0
        for try await part in body {
            size += Int64(part.readableBytes)
            if size > Limits.blob { throw APIError.tooLarge("blob", limit: Limits.blob) }
        }
    }

    private func receive(_ blob: Digest, _ body: RequestBody) async throws {
        let receiver = try await blobs.receive(blob, limit: Limits.blob)
        do {
            var bytes: [UInt8] = []
            for try await part in body {
                bytes.append(contentsOf: part.readableBytesView)
                if bytes.count >= Self.piece {
                    try await receiver.write(bytes)
                    bytes = []
                }
            }
            if !bytes.isEmpty { try await receiver.write(bytes) }
            try await receiver.finish()
        } catch {
            await receiver.cancel()
            throw error
        }
    }
}

extension APIError {
    static let tooManyUploads = APIError(
        .unavailable,
        message:
            "\(Limits.uploads / 4) blobs of one operator, or \(Limits.uploads) of all, are being received already",
        advice: "send it again in a second")
}
