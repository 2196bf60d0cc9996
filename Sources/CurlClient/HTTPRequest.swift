// SPDX-License-Identifier: Apache-2.0

/// One request, in HTTP/1.1 unless it says otherwise, with every limit that applies to it.
///
/// A request is checked when it is sent: a line break in a header, a space in the URL or a scheme other than `http` and `https`
/// is refused as ``HTTPFailure/Code/invalidRequest`` before a connection is made. Redirects are never followed: a 3xx answer is
/// an answer.
public struct HTTPRequest: Sendable {
    public var method: HTTPMethod
    /// `http://` or `https://`, sent as it is written (`..` is not resolved), without a user name and without a fragment.
    public var url: String
    /// Sent in this order. `Content-Length`, `Transfer-Encoding` and `Expect` are curl's own and refused here.
    public var headers: [HTTPHeader]
    public var body: HTTPBody
    /// Sent as `Authorization: Bearer …`; never part of a message or a description.
    public var bearerToken: HTTPSecret?
    public var timeouts: HTTPTimeouts
    /// Used by `https` only.
    public var tls: TLSFiles
    /// Connect to this Unix socket instead of the URL's host and port; at most 107 bytes.
    public var unixSocket: String?
    /// Connect to this address and port instead of the URL's, such as `127.0.0.1:8443` or `[::1]:443`; the URL's host is still the
    /// one that is asked for, in `Host` and in TLS.
    public var connectTo: String?
    /// Begin the connection with a line of the PROXY protocol, as a listener that expects one wants it.
    public var beginsWithProxyLine = false
    /// Speak HTTP/2 from the first byte of a connection in clear, as a listener wants it that speaks nothing else.
    public var speaksHTTP2 = false
    /// Ask for a part of the body. A server may ignore it: look for status 206.
    public var range: HTTPRange?
    /// How many bytes of body are taken before the transfer fails as ``HTTPFailure/Code/tooLarge``.
    public var maximumBody: Int

    public init(
        _ method: HTTPMethod = .get, _ url: String, headers: [HTTPHeader] = [],
        body: HTTPBody = .none,
        bearerToken: HTTPSecret? = nil, timeouts: HTTPTimeouts = HTTPTimeouts(),
        tls: TLSFiles = TLSFiles(), unixSocket: String? = nil, range: HTTPRange? = nil,
        maximumBody: Int = 1 << 20
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.bearerToken = bearerToken
        self.timeouts = timeouts
        self.tls = tls
        self.unixSocket = unixSocket
        self.range = range
        self.maximumBody = maximumBody
    }
}

/// The method of a request: any HTTP token, such as `GET` or `PURGE`.
public struct HTTPMethod: Hashable, Sendable, CustomStringConvertible {
    public let name: String

    /// - Returns: `nil` unless the name is a token of RFC 9110 of at most 32 characters.
    public init?(_ name: String) {
        guard name.utf8.count <= 32, isToken(name) else { return nil }
        self.name = name
    }

    private init(known name: String) { self.name = name }

    public static let get = HTTPMethod(known: "GET")
    public static let head = HTTPMethod(known: "HEAD")
    public static let post = HTTPMethod(known: "POST")
    public static let put = HTTPMethod(known: "PUT")
    public static let patch = HTTPMethod(known: "PATCH")
    public static let delete = HTTPMethod(known: "DELETE")
    public static let purge = HTTPMethod(known: "PURGE")
    public static let ban = HTTPMethod(known: "BAN")

    public var description: String { name }
}

/// A header of a request or of a response.
public struct HTTPHeader: Hashable, Sendable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// What a request sends after its headers.
public enum HTTPBody: Sendable {
    case none
    /// Copied when the request is sent.
    case bytes([UInt8])
    /// A regular file, read while it is sent; its size must not change meanwhile.
    case file(path: String)
}

/// How long a request may take.
public struct HTTPTimeouts: Hashable, Sendable {
    /// Until the connection, with TLS, is up.
    public var connect: Duration
    /// From the call to the last byte, waiting for a free connection included; `nil` for a stream that may last for ever.
    public var total: Duration?
    /// How long not even one byte a second may arrive or leave, in whole seconds; `nil` for no such limit.
    ///
    /// The curl thread then wakes once a second for this request. For a long poll use `total`.
    public var stall: Duration?

    public init(
        connect: Duration = .seconds(5), total: Duration? = .seconds(30), stall: Duration? = nil
    ) {
        self.connect = connect
        self.total = total
        self.stall = stall
    }
}

/// The PEM files of a TLS connection, TLS 1.2 at least. The peer's certificate and name are verified unless it says otherwise.
public struct TLSFiles: Hashable, Sendable {
    /// Certificates of the authorities to trust instead of the system's.
    public var authorities: String?
    /// The client's own certificate chain, for mutual TLS.
    public var certificate: String?
    /// The private key of `certificate`.
    public var privateKey: String?
    /// Whoever answers is believed. Only for a connection to this machine that carries no secret.
    public var isUnverified = false

    public init(
        authorities: String? = nil, certificate: String? = nil, privateKey: String? = nil
    ) {
        self.authorities = authorities
        self.certificate = certificate
        self.privateKey = privateKey
    }
}

/// A part of a body, in bytes from 0.
public struct HTTPRange: Hashable, Sendable {
    public var first: Int64
    /// Included; `nil` for everything from `first`.
    public var last: Int64?

    public init(from first: Int64, through last: Int64? = nil) {
        self.first = first
        self.last = last
    }
}

/// A text that is sent but never shown: printing or dumping it gives `(secret)`.
public struct HTTPSecret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    let text: String

    public init(_ text: String) { self.text = text }

    public var description: String { "(secret)" }
    public var debugDescription: String { "(secret)" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
