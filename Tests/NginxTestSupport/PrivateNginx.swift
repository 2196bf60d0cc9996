// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// An nginx of the test's own: own directory, own configuration, own loopback address, stopped by its recorded process
/// identifier.
public final class PrivateNginx: Sendable {
    public let address: String
    public let directory: String
    private let process: ChildProcess

    public static let port: UInt16 = 8080

    /// Starts nginx and waits until it answers.
    ///
    /// - Parameter http: what goes into the `http` block. It listens on `address`, port 8080.
    public init(
        in directory: String, name: String = "nginx", address: String = privateLoopbackAddress(),
        workers: Int = 1, connections: Int = 4096, http: String
    ) async throws {
        self.address = address
        self.directory = "\(directory)/\(name)"
        let prefix = self.directory
        try FileManager.default.createDirectory(
            atPath: prefix + "/temp", withIntermediateDirectories: true)
        let configuration = """
            \(getuid() == 0 ? "user root;" : "")
            worker_processes \(workers);
            daemon off;
            pid \(prefix)/nginx.pid;
            error_log \(prefix)/error.log info;
            events { worker_connections \(connections); }
            http {
                client_body_temp_path \(prefix)/temp/body;
                proxy_temp_path \(prefix)/temp/proxy;
                fastcgi_temp_path \(prefix)/temp/fastcgi;
                uwsgi_temp_path \(prefix)/temp/uwsgi;
                scgi_temp_path \(prefix)/temp/scgi;
                access_log off;
                client_max_body_size 32m;
            \(http)
            }

            """
        let file = prefix + "/nginx.conf"
        try configuration.write(toFile: file, atomically: true, encoding: .utf8)
        process = try ChildProcess(
            [Self.program, "-p", prefix, "-e", prefix + "/error.log", "-c", file],
            output: prefix + "/output")
        let isUp = await eventually {
            // Written once it listens everywhere: at the sockets that a test has added, too.
            guard FileManager.default.fileExists(atPath: prefix + "/nginx.pid") else {
                return false
            }
            guard let descriptor = try? connectTCP(address, Self.port) else { return false }
            close(descriptor)
            return true
        }
        guard isUp else {
            let output = (try? String(contentsOfFile: prefix + "/output", encoding: .utf8)) ?? ""
            throw TestSupportFailure("nginx did not start: \(output)")
        }
    }

    /// The master process: give it SIGHUP to reload.
    public func signal(_ number: Int32) { process.signal(number) }

    /// Ends at once, as `systemctl stop` would after its patience.
    public func stop() { process.end(SIGTERM) }

    deinit { process.end(SIGTERM) }

    public func client(timeout: Duration = .seconds(60)) -> HTTPClient {
        HTTPClient(address: address, port: Self.port, timeout: timeout)
    }

    private static let program =
        ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/bin/nginx"]
        .first(where: { FileManager.default.isExecutableFile(atPath: $0) }) ?? "nginx"
}

/// `agents` of this package.
public let agents: String = {
    let parts = #filePath.split(separator: "/").dropLast(3).map(String.init) + ["agents"]
    return "/" + parts.joined(separator: "/")
}()

/// Where the shipped nginx snippets are.
public let nginxSnippets = agents + "/nginx"

/// The shipped browser script.
public var browserScript: String {
    get throws {
        try String(contentsOfFile: agents + "/browser/sluice.js", encoding: .utf8)
    }
}
