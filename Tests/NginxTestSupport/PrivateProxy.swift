// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// HAProxy or Caddy of the test's own, with the shipped files: its own loopback address, stopped by its recorded process identifier.
public final class PrivateProxy: Sendable {
    public enum Kind: String, CaseIterable, CustomStringConvertible, Sendable {
        case haproxy, caddy

        public var description: String { rawValue }
    }

    public let address: String
    private let process: ChildProcess
    private let files: ShippedFiles
    private let output: String

    public static let port = PrivateNginx.port

    /// Starts it and waits until it listens on `address`, port 8080.
    ///
    /// - Parameters:
    ///   - path: a directory for what it needs.
    ///   - runtime: the agent's.
    ///   - application: the application's directory, as the agent lays it out.
    ///   - edit: changes a shipped file, for tests of hazards.
    public init(
        _ kind: Kind, in path: String, runtime: String, application: String,
        edit: @escaping @Sendable (String) -> String = { $0 }
    ) async throws {
        address = privateLoopbackAddress()
        files = ShippedFiles(
            kind: kind, path: path, runtime: runtime, application: application, address: address,
            edit: edit)
        output = path + "/\(kind).log"
        process = try ChildProcess(try files.install(), output: output)
        let isUp = await eventually { [address, files] in
            guard files.areListenedOn, let descriptor = try? connectTCP(address, Self.port) else {
                return false
            }
            close(descriptor)
            return true
        }
        guard isUp else {
            let said = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
            throw TestSupportFailure("\(kind) did not start: \(said)")
        }
    }

    /// As an operator does, with the files as they are.
    public func reload() throws {
        switch files.kind {
        case .haproxy: process.signal(SIGUSR2)
        case .caddy:
            let command = try ChildProcess(files.reload, output: output)
            guard command.wait() == 0 else {
                let said = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
                throw TestSupportFailure("caddy reload failed: \(said.suffix(2000))")
            }
        }
    }

    deinit { process.end(SIGTERM) }

    public func client(timeout: Duration = .seconds(60)) -> HTTPClient {
        HTTPClient(address: address, port: Self.port, timeout: timeout)
    }
}

/// What `agents/` has for a proxy, with the paths of a test.
private struct ShippedFiles: Sendable {
    var kind: PrivateProxy.Kind
    var path: String
    var runtime: String
    var application: String
    var address: String
    var edit: @Sendable (String) -> String

    private var folder: String { "\(path)/\(kind)" }

    /// - Returns: the command that starts the proxy with them.
    func install() throws -> [String] {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        try write(try browserScript, to: "sluice.js")
        switch kind {
        case .haproxy:
            for name in ["sluice.lua", "routes"] { try write(shipped(name), to: name) }
            let site = try shipped("site.cfg").replacingOccurrences(
                of: "    log global\n", with: "")
            let sluice = try shipped("sluice.cfg")
                .replacingOccurrences(of: "# setenv SLUICE_SCRIPT", with: "setenv SLUICE_SCRIPT")
            try write(Self.ownOfHAProxy + sluice + site, to: "haproxy.cfg")
            return ["/usr/sbin/haproxy", "-W", "-db", "-f", folder + "/haproxy.cfg"]
        case .caddy:
            for name in ["sluice.caddy", "routes.caddy", "Caddyfile"] {
                try write(shipped(name), to: name)
            }
            return caddy("run")
        }
    }

    /// Caddy's own socket, where the flags decide, comes after its port.
    var areListenedOn: Bool {
        kind != .caddy || FileManager.default.fileExists(atPath: folder + "/sluice-flags.sock")
    }

    var reload: [String] {
        caddy("reload") + ["--force", "--address", "unix/\(folder)/admin.sock"]
    }

    private func caddy(_ verb: String) -> [String] {
        [
            "/usr/bin/env", "XDG_CONFIG_HOME=\(folder)", "XDG_DATA_HOME=\(folder)",
            "/usr/bin/caddy", verb, "--config", folder + "/Caddyfile", "--adapter", "caddyfile",
        ]
    }

    private static let ownOfHAProxy = """
        global
            maxconn 4000

        defaults site
            mode http
            option httplog
            timeout connect 5s
            timeout client 2s
            timeout server 60s


        """

    private func shipped(_ name: String) throws -> String {
        let text = try String(contentsOfFile: "\(agents)/\(kind)/\(name)", encoding: .utf8)
            .replacingOccurrences(of: "/run/sluice", with: runtime)
            .replacingOccurrences(of: "/etc/\(kind)/sluice", with: folder)
            .replacingOccurrences(of: "/srv/guestbook", with: application)
            .replacingOccurrences(of: "/var/lib/caddy", with: folder)
            .replacingOccurrences(of: "127.0.0.1:80", with: "\(address):8080")
            .replacingOccurrences(of: "http://:80 ", with: "http://:8080 ")
            .replacingOccurrences(of: "bind 127.0.0.1", with: "bind \(address)")
        return edit(text)
    }

    private func write(_ text: String, to name: String) throws {
        try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
    }
}
