// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CurlClient
internal import FoundationEssentials

/// Where the coordinator is, and who asks: the same options on every command that talks to it.
struct ConnectionOptions: ParsableArguments {
    @Option(
        name: .customLong("coordinator"),
        help: ArgumentHelp(
            "The coordinator's address. (environment: SLUICE_COORDINATOR; standard: \(Connection.standardURL))",
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

    /// Options go before the environment, and the environment before the standard.
    func resolved(
        _ environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(CommandFailure) -> Connection {
        func variable(_ name: String) -> String? {
            environment[name].flatMap { $0.isEmpty ? nil : $0 }
        }
        var token = variable("SLUICE_TOKEN")
        if let tokenFile { token = try TextFile.firstLine(of: tokenFile, what: "token") }
        return try Connection(
            url: coordinator ?? variable("SLUICE_COORDINATOR") ?? Connection.standardURL,
            token: token.map(HTTPSecret.init),
            authorities: authorityFile ?? variable("SLUICE_CA_FILE"))
    }
}

/// A coordinator's address and what is shown to it.
struct Connection: Hashable, Sendable {
    static let standardURL = "http://127.0.0.1:9740"

    /// Without a slash at the end.
    let url: String
    let token: HTTPSecret?
    /// A PEM file.
    let authorities: String?

    init(url: String, token: HTTPSecret?, authorities: String?) throws(CommandFailure) {
        var url = url
        while url.hasSuffix("/") { url.removeLast() }
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), !url.contains("?"),
            !url.contains("#")
        else {
            throw CommandFailure(
                code: "coordinator-address", "the coordinator's address \(url) is not a URL",
                advice: "write it like \(Connection.standardURL) or https://sluice.example.org")
        }
        self.url = url
        self.token = token
        self.authorities = authorities
    }
}
