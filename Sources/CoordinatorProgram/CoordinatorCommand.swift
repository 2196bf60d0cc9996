// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
public import ControlServer
import Coordinator
import Files
import FoundationEssentials
import Glibc
import Logging
import Metrics
import NIOCore
import PrintableLog
import RunStore
import SQLiteRunStore
import ServiceLifecycle
import UnixSignals
import UpgradeModel

/// `sluice coordinator`: leads the fleets until it is told to end.
public struct CoordinatorCommand: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "coordinator", abstract: "Run the coordinator.",
        discussion: """
            Keeps everything in --data: the journal (sluice.db), the lock of the leader, and the blobs. A plan names the \
            database's URL by an environment variable, which this process must have.

            Ends with 0 on SIGTERM and SIGINT, with 1 when the store fails, with 3 when it refuses to start.

            EXAMPLES
              sluice coordinator                       # this machine only: 127.0.0.1:9740, \(DataOption.defaultDirectory)
              sluice coordinator --listen 0.0.0.0:9740 --tls-certificate chain.pem --tls-key key.pem
            """)

    @OptionGroup var data: DataOption

    @Option(help: "Where to listen: HOST:PORT.")
    var listen: ListenAddress = .loopback

    @Option(help: ArgumentHelp("The certificate chain, in PEM.", valueName: "file"))
    var tlsCertificate: String?

    @Option(help: ArgumentHelp("The certificate's key, in PEM.", valueName: "file"))
    var tlsKey: String?

    @Flag(help: "Listen beyond this machine without TLS.")
    var insecure = false

    @Flag(
        help:
            "Go on with a journal that is older than the last leader. Look at every node and the database first."
    )
    var acceptOlderJournal = false

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: LogLevel = .info

    public init() {}

    public func validate() throws {
        if (tlsCertificate == nil) != (tlsKey == nil) {
            throw ValidationError(
                "--tls-certificate and --tls-key belong together: give both, or none.")
        }
    }

    public func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        var log = Logger(label: "sluice.coordinator") { PrintableLogHandler(label: $0) }
        log.logLevel = logLevel.level
        do {
            try await lead(log)
        } catch let said as ExitCode {
            throw said
        } catch let refusal as ControlServer.CannotStart {
            throw complaint(refusal.description, 3)
        } catch let fault as CoordinatorFault {
            throw complaint(fault.description, fault.isRefusal ? 3 : 1)
        } catch let failure as StoreFailure {
            throw complaint(CoordinatorFault.notStarted(failure).description, 3)
        } catch {
            throw complaint(reason(error), 1)
        }
    }

    /// Why serving has ended, and what to do.
    private func reason(_ error: any Error) -> String {
        (error as? IOError).flatMap { reason(notListening: $0.errnoCode) }
            ?? "the coordinator ended: \(error); see the lines above, then start it again"
    }

    func reason(notListening number: Int32) -> String? {
        switch number {
        case EADDRINUSE: "\(listen) is taken: end what listens there, or give another --listen"
        case EADDRNOTAVAIL: "\(listen) is no address of this machine: give one with --listen"
        case EACCES: "this user may not listen on \(listen): give a port above 1023 with --listen"
        default: nil
        }
    }

    private func lead(_ log: Logger) async throws {
        let tls = tlsCertificate.flatMap { certificate in
            tlsKey.map { (certificate: certificate, key: $0) }
        }
        let serving = ControlServer.Configuration(
            listen: listen, tls: tls, isInsecureAllowed: insecure,
            connections: try connectionLimit(files: raiseLimitOfOpenFiles()))
        try serving.check()
        try data.requireSecrecy(tls?.key)
        let metrics = PrometheusMetrics()
        MetricsSystem.bootstrap(metrics)
        // What is folded is held against its chain; the rest of the history is examined while leading.
        // Files that it makes are its user's alone.
        umask(0o077)
        let store = try await SQLiteRunStore(directory: data.directory, examine: .none)
        let lease = FileLeaderLease(
            directory: data.directory, store: store, acceptOlderJournal: acceptOlderJournal)
        let blobs = try await FileBlobStore(directory: data.directory)
        let environment = ProcessInfo.processInfo.environment
        let shelf = MigrationShelf()
        let coordinator = try await RunCoordinator.lead(
            RunCoordinator.Ports(
                journal: store, lease: lease, blobs: blobs, registry: store,
                makeWorker: { assignment throws(DatabaseFailure) in
                    try SchemaUpgradeWorker(assignment, environment: environment, shelf: shelf)
                }), holder: holder(), log: log)
        let server = try ControlServer(
            serving, control: coordinator, registry: store, blobs: blobs, metrics: metrics, log: log
        )
        // Ended in reverse order: the coordinator first, which answers whoever waits; then the server.
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: server),
                    .init(service: CoordinatorService(coordinator: coordinator)),
                ], gracefulShutdownSignals: [.sigterm, .sigint], logger: log))
        do {
            try await group.run()
        } catch {
            await store.close()
            throw error
        }
        await store.close()
        log.info("ended")
    }

    private func holder() -> String {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = String(
            decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let since = Date.now.formatted(.iso8601)
        return "on \(host), process \(getpid()), since \(since)"
    }
}

extension CoordinatorFault {
    /// Whether nothing was touched: another leads, or the journal is not to be trusted.
    fileprivate var isRefusal: Bool {
        switch self {
        case .notStarted, .unreadable: true
        case .notStored: false
        }
    }
}

/// The coordinator's loop as a service.
private struct CoordinatorService: ServiceLifecycle.Service {
    let coordinator: RunCoordinator

    func run() async throws {
        try await cancelWhenGracefulShutdown { try await coordinator.run() }
    }
}

extension ListenAddress: ExpressibleByArgument {
    public var defaultValueDescription: String { description }
}

enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error, critical

    var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}
