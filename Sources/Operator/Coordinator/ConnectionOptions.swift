// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CurlClient
internal import FoundationEssentials

/// Where the coordinator is, and who asks: the same options on every command that talks to it.
struct ConnectionOptions: ParsableArguments {
    @Option(
        name: .customLong("coordinator"),
        help: ArgumentHelp(
            "The coordinator's address. (environment: SLUICE_COORDINATOR; default: \(Connection.defaultURL))",
            valueName: "url"))
    var coordinator: String?

    @Option(
        name: .customLong("token-file"),
        help: ArgumentHelp(
            "A file whose first line is your token. (environment: SLUICE_TOKEN has the token itself)",
            valueName: "file"),
        completion: .file())
    var tokenFile: String?

    @Option(
        name: .customLong("ca-file"),
        help: ArgumentHelp(
            "Certificates (PEM) to trust instead of the system's. (environment: SLUICE_CA_FILE)",
            valueName: "file"),
        completion: .file())
    var authorityFile: String?

    @Flag(
        name: .customLong("allow-plain-http"),
        help:
            "Send the token in clear to another machine: for a network that you trust. (environment: SLUICE_ALLOW_PLAIN_HTTP=1)"
    )
    var allowsPlainHTTP = false

    /// Options go before the environment, and the environment before the default.
    func resolved(
        _ environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(CommandFailure) -> Connection {
        func variable(_ name: String) -> String? {
            environment[name].flatMap { $0.isEmpty ? nil : $0 }
        }
        var token = variable("SLUICE_TOKEN")
        if let tokenFile { token = try TextFile.firstLine(of: tokenFile, what: "token") }
        return try Connection(
            url: coordinator ?? variable("SLUICE_COORDINATOR") ?? Connection.defaultURL,
            token: token.map(HTTPSecret.init),
            authorities: authorityFile ?? variable("SLUICE_CA_FILE"),
            allowsPlainHTTP: allowsPlainHTTP || variable("SLUICE_ALLOW_PLAIN_HTTP") == "1")
    }
}

/// A coordinator's address and what is shown to it.
struct Connection: Hashable, Sendable {
    static let defaultURL = "http://127.0.0.1:9740"

    /// Without a slash at the end; never with a user name or a password in it.
    let url: String
    let token: HTTPSecret?
    /// A PEM file.
    let authorities: String?

    /// - Parameter allowsPlainHTTP: whether a person has said that the network to another machine is trusted.
    init(
        url: String, token: HTTPSecret?, authorities: String?, allowsPlainHTTP: Bool = false
    ) throws(CommandFailure) {
        var url = url
        while url.hasSuffix("/") { url.removeLast() }
        guard let address = HTTPAddress(url) else { throw Connection.wrong(url) }
        if address.isInClear && !allowsPlainHTTP {
            throw CommandFailure(
                code: "plain-http", "the token would travel in clear to \(address.host)",
                advice:
                    "write https:// in --coordinator or SLUICE_COORDINATOR; in a network that you trust, add --allow-plain-http"
            )
        }
        self.url = url
        self.token = token
        self.authorities = authorities
    }

    /// An address may have a password in it, or be a token that was put in the wrong place; so it is not repeated.
    private static func wrong(_ url: String) -> CommandFailure {
        let what =
            url.contains("@")
            ? "has a user name or a password in it"
            : url.hasPrefix("http://") || url.hasPrefix("https://")
                ? "is not http://HOST:PORT or https://HOST:PORT"
                : "does not begin with http:// or https://"
        return CommandFailure(
            code: "coordinator-address", "the coordinator's address \(what)",
            advice:
                "write it like \(Connection.defaultURL) or https://sluice.example.org, and the token into SLUICE_TOKEN or a file"
        )
    }
}
