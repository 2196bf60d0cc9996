// SPDX-License-Identifier: Apache-2.0

internal import CCurl
internal import Glibc

/// Why a transfer did not finish.
///
/// Unless the code says otherwise the server may have received the request and acted on it.
public struct HTTPFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of failure it is, for policy. `rawValue` is a stable word for logs.
    public enum Code: String, Sendable, CaseIterable {
        /// The request itself is wrong; nothing was sent.
        case invalidRequest
        /// Nobody listens at the address or socket; nothing was sent.
        case refused
        /// No connection for another reason, such as no route; nothing was sent.
        case unreachable
        /// The host name has no address; nothing was sent.
        case unresolved
        /// A limit of ``HTTPTimeouts`` has passed.
        case timedOut
        /// The TLS handshake failed, or a certificate could not be verified or read.
        case tls
        /// The answer is larger than the request allows.
        case tooLarge
        /// The task was cancelled.
        case cancelled
        /// `onHead` or `onBytes` returned false.
        case stopped
        /// The connection ended in the middle, or what came is not HTTP.
        case interrupted
        /// The body's file could not be read.
        case unreadableBody
        /// The client was closed.
        case closed
        /// The client has as many requests as it may have; nothing was sent.
        case overloaded
        /// Anything else, with curl's own name.
        case other
    }

    public var code: Code
    /// Method, URL without its query, what happened, and what to do about it where that is known.
    public var message: String
    /// curl's own name of the error, such as `CURLE_COULDNT_CONNECT`; empty when the failure is not curl's.
    public var curlName: String

    public init(_ code: Code, _ message: String, curlName: String = "") {
        self.code = code
        self.message = message
        self.curlName = curlName
    }

    public var description: String {
        curlName.isEmpty
            ? "\(message) [\(code.rawValue)]" : "\(message) [\(code.rawValue), \(curlName)]"
    }
}

extension HTTPFailure.Code {
    /// - Parameter systemError: errno of the last failed connect, 0 when there was none.
    init(curl code: CURLcode, systemError: Int) {
        switch code {
        case CURLE_URL_MALFORMAT, CURLE_LOGIN_DENIED, CURLE_BAD_FUNCTION_ARGUMENT:
            self = .invalidRequest
        case CURLE_COULDNT_CONNECT:
            // ENOENT: a Unix socket that is not there. Its owner is as absent as one that does not listen.
            self = systemError == ECONNREFUSED || systemError == ENOENT ? .refused : .unreachable
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: self = .unresolved
        case CURLE_OPERATION_TIMEDOUT: self = .timedOut
        case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR,
            CURLE_USE_SSL_FAILED, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT:
            self = .tls
        case CURLE_FILESIZE_EXCEEDED: self = .tooLarge
        case CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_PARTIAL_FILE,
            CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL:
            // The scheme was checked before, so an unsupported protocol is the version in the status line.
            self = .interrupted
        default: self = .other
        }
    }
}
