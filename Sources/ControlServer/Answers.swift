// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

extension Response {
    /// A value as JSON, with sorted keys.
    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else {
            return Response(status: .internalServerError)
        }
        return Response(
            status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: data)))
    }

    static func error(_ error: APIError) -> Response {
        var response = json(error, status: error.status)
        if error.status == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
        if error.status == .serviceUnavailable || error.status == .tooManyRequests {
            response.headers[.retryAfter] = "1"
        }
        return response
    }

    static func text(_ text: String, type: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

extension APIError {
    /// The HTTP status of a reason. One that is not in the list is a fault of this program.
    var status: HTTPResponse.Status {
        switch Code(rawValue: code) {
        case .unauthorized: .unauthorized
        case .forbidden: .forbidden
        case .notFound, .noSuchMigration: .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .timeout: .requestTimeout
        case .tooLarge: .contentTooLarge
        case .tooMany: .tooManyRequests
        case .range: .rangeNotSatisfiable
        case .malformed, .protocolVersion: .badRequest
        case .unavailable: .serviceUnavailable
        case .full: HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage")
        case .invalidPlan, .noNodes, .unknownNode, .refused: .unprocessableContent
        case .requestUsed, .fleetHeld, .nodeHeld, .quarantinedLeftOut, .allQuarantined, .runEnded,
            .alreadyTurningBack, .pastPointOfNoReturn, .notPaused, .alreadyPaused, .notRunning,
            .nothingToApprove, .nothingToRetry, .nothingToResolve,
            .goingForward, .promoted, .tooManyQuarantined, .nodeIsHeard, .lastNode:
            .conflict
        case nil: .internalServerError
        }
    }

    static func malformed(_ message: String) -> APIError {
        APIError(
            .malformed, message: message,
            advice: "use an agent and a CLI of the coordinator's version")
    }

    static func tooLarge(_ what: String, limit: Int64) -> APIError {
        APIError(
            .tooLarge,
            message: "what was sent is larger than the limit of a \(what), \(limit) bytes",
            advice: "docs/coordinator.md lists the limits")
    }
}

extension RequestBody {
    /// The body as one value, refused as soon as it is larger than allowed.
    func decode<Value: Decodable>(
        _ type: Value.Type, limit: Int, announced: Int64?
    ) async throws(APIError) -> Value {
        let limit = Int64(limit)
        let refusal = APIError.tooLarge("\(type)", limit: limit)
        if let announced, announced > limit { throw refusal }
        var data = Data()
        do {
            for try await part in self {
                guard Int64(data.count) + Int64(part.readableBytes) <= limit else {
                    throw refusal
                }
                data.append(contentsOf: part.readableBytesView)
            }
        } catch let error as APIError {
            throw error
        } catch {
            throw .malformed("the body ended early")
        }
        do {
            return try JSONDecoder().decode(type, from: data)
        } catch let error as DecodingError {
            throw .malformed("the body is not a \(type): \(error.position)")
        } catch {
            throw .malformed("the body is not a \(type)")
        }
    }
}

extension DecodingError {
    /// Where and what, without the value: that may be a secret.
    fileprivate var position: String {
        switch self {
        case .keyNotFound(let key, let context): "\(path(context)) has no \(key.stringValue)"
        case .typeMismatch(_, let context), .valueNotFound(_, let context),
            .dataCorrupted(let context):
            "\(path(context)) \(context.debugDescription)"
        @unknown default: "unreadable"
        }
    }

    private func path(_ context: Context) -> String {
        context.codingPath.isEmpty
            ? "it" : context.codingPath.map(\.stringValue).joined(separator: ".")
    }
}
