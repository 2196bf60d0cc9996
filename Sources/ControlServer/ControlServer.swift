// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import Logging
import NIOCore
import NIOSSL
public import RunStore
public import ServiceLifecycle

/// The HTTP server of a coordinator.
///
/// HTTP/1.1, with TLS 1.3 when it has a certificate. Ends gracefully: what is being answered is answered.
public struct ControlServer: Service {
    /// What a server is made from.
    public struct Configuration: Sendable {
        public var listen: ListenAddress
        /// Paths of a certificate chain and its key in PEM; renewed ones are read as they come.
        public var tls: (certificate: String, key: String)?
        /// Listen beyond loopback without TLS, because a person said so.
        public var isInsecureAllowed: Bool
        /// Connections open at once; fewer than the process may have files open.
        public var connections: Int
        var patience = Patience()
        /// Seconds since 1970, for the end of the certificate.
        var now: @Sendable () -> Int = { time(nil) }

        public init(
            listen: ListenAddress, tls: (certificate: String, key: String)? = nil,
            isInsecureAllowed: Bool = false, connections: Int = Limits.connections
        ) {
            self.connections = min(connections, Limits.connections)
            self.listen = listen
            self.tls = tls
            self.isInsecureAllowed = isInsecureAllowed
        }

        /// Refuses to listen beyond this machine without TLS, unless a person said so.
        public func check() throws(CannotStart) {
            if tls != nil || listen.isLoopback || isInsecureAllowed { return }
            throw CannotStart(
                description: """
                    \(listen) can be reached by other machines, and without TLS everybody on the way reads the tokens: give \
                    --tls-certificate and --tls-key, or listen on 127.0.0.1, or say --insecure
                    """)
        }
    }

    /// Why a server is not started: nothing has been touched.
    public struct CannotStart: Error, Hashable, Sendable, CustomStringConvertible {
        public var description: String
    }

    private let application: Application<ControlResponder>
    let connections: Connections

    /// - Parameter onListening: called once with the port.
    public init(
        _ configuration: Configuration, control: any FleetControl, registry: any Registry,
        blobs: any BlobStore, metrics: PrometheusMetrics, log: Logger,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) throws(CannotStart) {
        let listen = configuration.listen
        try configuration.check()
        connections = Connections(limit: configuration.connections, log: log)
        let certificate = try Self.certificate(configuration, log)
        let responder = ControlResponder(
            control: control, blobs: blobs, authenticator: Authenticator(registry: registry),
            metrics: metrics, log: log, connections: connections,
            certificate: certificate.map { Self.end(of: $0, configuration.now) })
        application = Application(
            responder: responder,
            server: try Self.builder(configuration, certificate, connections, log),
            configuration: ApplicationConfiguration(
                address: .hostname(listen.host, port: listen.port), serverName: "sluice",
                backlog: 1024,
                availableConnectionsDelegate: .maximum(configuration.connections, logger: log)),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? 0
                log.info("listening", metadata: ["address": "\(listen.host)", "port": "\(port)"])
                await onListening(port)
            },
            logger: log)
    }

    public func run() async throws {
        try await application.run()
    }

    private static func end(
        of files: CertificateFiles, _ now: @escaping @Sendable () -> Int
    ) -> @Sendable () -> (end: CertificateEnd, now: Int) {
        { (end: files.end, now: now()) }
    }

    private static func certificate(
        _ configuration: Configuration, _ log: Logger
    ) throws(CannotStart) -> CertificateFiles? {
        guard let tls = configuration.tls else { return nil }
        do {
            let files = try CertificateFiles(tls, log: log)
            if let reason = files.end.reason(now: configuration.now()) {
                log.warning("\(reason)")
            }
            return files
        } catch { throw cannotStart(tls, error) }
    }

    private static func builder(
        _ configuration: Configuration, _ certificate: CertificateFiles?,
        _ connections: Connections, _ log: Logger
    ) throws(CannotStart) -> HTTPServerBuilder {
        let patience = configuration.patience
        let http = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [ConnectionGuard(connections, patience)],
                idleTimeout: .seconds(90),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: 8 * 1024, maxHeaderListSize: 32 * 1024,
                    maxHeaderFieldCount: 64)))
        guard let tls = configuration.tls, let certificate else { return http }
        do {
            return try .tls(http, tlsConfiguration: certificate.configuration)
        } catch { throw cannotStart(tls, error) }
    }

    private static func cannotStart(
        _ tls: (certificate: String, key: String), _ error: any Error
    ) -> CannotStart {
        CannotStart(
            description: """
                TLS cannot be set up from \(tls.certificate) and \(tls.key): \(error); both must be PEM, readable by this \
                user, and belong together
                """)
    }
}
