// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A question and the answer that counts as healthy: over HTTP, or an action.
public struct HealthCheck: Hashable, Sendable {
    public enum Destination: Hashable, Sendable {
        /// The socket of the release that is asked about.
        case applicationSocket
        case socket(String)
        /// `host:port`.
        case address(String)
        /// No question over HTTP: an action of this node, whose exit status 0 is healthy. For nodes that serve no pages.
        case action(ActionName)
    }

    public var destination: Destination
    /// The application speaks FastCGI at its socket, as php-fpm does: the script of the release that answers, such as `index.php`.
    public var script: String?
    public var path: String
    public var host: String
    /// What is sent besides, such as a token that the page asks for.
    public var requestHeaders: [SentHeader]
    public var status: Int
    public var header: ExpectedHeader?
    /// Text that the body has to contain; `{release}` in it stands for the release's name.
    public var body: String?
    public var timeout: Span

    public struct ExpectedHeader: Hashable, Sendable {
        public var name: String
        /// `{release}` in it stands for the release's name.
        public var value: String

        public init(name: String, value: String = "{release}") {
            self.name = name
            self.value = value
        }
    }

    public init(
        destination: Destination, script: String? = nil, path: String, host: String = "localhost",
        requestHeaders: [SentHeader] = [], status: Int = 200, header: ExpectedHeader? = nil,
        body: String? = nil, timeout: Span
    ) {
        self.destination = destination
        self.script = script
        self.path = path
        self.host = host
        self.requestHeaders = requestHeaders
        self.status = status
        self.header = header
        self.body = body
        self.timeout = timeout
    }
}

/// A header that the agent sends: its value as it stands in the configuration, or the contents of a file.
public struct SentHeader: Hashable, Sendable {
    public enum Value: Hashable, Sendable {
        case text(String)
        /// Read each time, so that a secret may be renewed. Readable by its owner alone.
        case file(String)
    }

    public var name: String
    public var value: Value

    /// Reads `Name: value` or `Name: file:/PATH`.
    ///
    /// - Returns: `nil` unless the name is a token of RFC 9110 and the value printable ASCII.
    public init?(_ text: String) {
        guard let colon = text.firstIndex(of: ":"), text.utf8.count <= 4096 else { return nil }
        let name = text[..<colon]
        let rest = text[text.index(after: colon)...].drop { $0 == " " }
        let isToken = name.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
        guard !name.isEmpty, isToken, rest.utf8.allSatisfy({ (32...126).contains($0) }) else {
            return nil
        }
        self.name = String(name)
        value = rest.hasPrefix("file:/") ? .file(String(rest.dropFirst(5))) : .text(String(rest))
    }
}
