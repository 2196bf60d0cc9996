// SPDX-License-Identifier: Apache-2.0

/// A whole answer. Any status is an answer, 404 and 503 too; only a transfer that did not finish is an ``HTTPFailure``.
public struct HTTPResponse: Sendable {
    public var head: HTTPResponseHead
    /// At most the request's `maximumBody` bytes.
    public var body: [UInt8]

    public var status: Int { head.status }

    public init(head: HTTPResponseHead, body: [UInt8]) {
        self.head = head
        self.body = body
    }
}

/// The status and the headers of an answer; interim answers (1xx) are skipped.
public struct HTTPResponseHead: Hashable, Sendable {
    public var status: Int
    /// In the order received, at most 200 headers and 64 KiB in all.
    public var headers: [HTTPHeader]

    public init(status: Int, headers: [HTTPHeader] = []) {
        self.status = status
        self.headers = headers
    }

    /// The value of the first header of that name; names are compared without regard to case.
    public func first(_ name: String) -> String? {
        headers.first { equalsIgnoringCase($0.name, name) }?.value
    }
}

/// ASCII only, as header names are.
func equalsIgnoringCase(_ left: String, _ right: String) -> Bool {
    func lower(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte + 32 : byte }
    return left.utf8.elementsEqual(right.utf8) { lower($0) == lower($1) }
}
