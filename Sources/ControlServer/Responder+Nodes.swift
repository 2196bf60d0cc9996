// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import HTTPTypes
import Hummingbird
import HummingbirdCore
import UpgradeModel

extension ControlResponder {
    /// 200 with a directive as soon as there is a newer one, 204 when the wait is over.
    func directive(_ request: Request, for node: NodeName) async throws(APIError) -> Response {
        let query = try DirectiveQuery(request.uri)
        guard let directive = try await control.directive(for: node, query) else {
            var response = Response(status: .noContent)
            // RFC 9110: a 204 has no length.
            response.headers[.contentLength] = nil
            return response
        }
        return .json(directive)
    }

    func status(_ request: Request, from node: NodeName) async throws(APIError) -> Response {
        let status = try await request.body.decode(
            NodeStatus.self, limit: Limits.status, announced: request.announcedLength)
        return .json(try await control.report(status, from: node))
    }
}

extension Request {
    /// What the client says about the body's length.
    var announcedLength: Int64? { headers[.contentLength].flatMap { Int64($0) } }
}

extension DirectiveQuery {
    fileprivate init(_ uri: URI) throws(APIError) {
        func number(_ name: String) throws(APIError) -> Int64 {
            guard let text = uri.queryParameters[name[...]] else { return 0 }
            guard let number = Int64(text), number >= 0 else {
                throw .malformed("\(name) is not a number in the query")
            }
            return number
        }
        self.init(
            epoch: Epoch(rawValue: try number("epoch")), revision: try number("revision"),
            wait: Span(milliseconds: try number("wait")))
    }
}
