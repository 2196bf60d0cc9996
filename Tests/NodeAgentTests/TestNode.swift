// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Dispatch
import FoundationEssentials
import Glibc
import Logging
import NodeEngine
import Releases
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// A node below a directory of its own: configuration, an adopted v1, an agent in this process.
final class TestNode: Sendable {
    let root: String
    let coordinator: FakeCoordinator
    let configuration: AgentConfiguration

    var configurationFile: String { root + "/agent.yaml" }
    var runtime: String { root + "/run" }
    var marks: String { root + "/marks" }

    /// - Parameter extra: YAML that is added to the configuration.
    init(_ coordinator: FakeCoordinator, extra: String = "") throws {
        self.coordinator = coordinator
        root = try TemporaryDirectory().path
        for folder in ["state", "run", "sockets"] {
            try FileManager.default.createDirectory(
                atPath: "\(root)/\(folder)", withIntermediateDirectories: true)
        }
        try write("secret-token\n", to: root + "/token", mode: 0o600)
        let text = """
            node: web-1
            coordinator:
              url: \(coordinator.url)
              token: file:\(root)/token
            directories:
              app: \(root)/app
              state: \(root)/state
              runtime: \(root)/run
            application:
              socket: \(root)/sockets/{release}.sock
            gate:
              reads_settle: 200ms
            \(extra.replacing("ROOT", with: root))
            """
        try write(text, to: root + "/agent.yaml", mode: 0o600)
        let read = AgentConfiguration.read(file: root + "/agent.yaml")
        guard let configuration = read.configuration else {
            throw TestFailure(description: read.findings.map(\.description).joined(separator: "\n"))
        }
        self.configuration = configuration
    }

    /// A node whose configuration a test has changed, read anew.
    init(reading node: TestNode) throws {
        coordinator = node.coordinator
        root = node.root
        let read = AgentConfiguration.read(file: root + "/agent.yaml")
        guard let configuration = read.configuration else {
            throw TestFailure(description: read.findings.map(\.description).joined(separator: "\n"))
        }
        self.configuration = configuration
    }

    /// Makes a bundle, lets the coordinator have its blobs, and says what release it is.
    func publish(_ name: String, files: [String: String], held: Bool = true) throws
        -> ReleaseReference
    {
        let bundle = try bundle(name, files)
        if held {
            coordinator.hold(bundle.manifest.encoded)
            for entry in bundle.manifest.entries {
                coordinator.hold(Array(try Data(contentsOf: URL(filePath: bundle.file(of: entry)))))
            }
        }
        return bundle.manifest.reference
    }

    func bundle(_ name: String, _ files: [String: String]) throws -> Bundle {
        let directory = "\(root)/bundles/\(name)-\(UInt32.random(in: 0 ... .max))"
        for (path, text) in files {
            let file = "\(directory)/\(path)"
            try FileManager.default.createDirectory(
                atPath: URL(filePath: file).deletingLastPathComponent().path(),
                withIntermediateDirectories: true)
            try write(text, to: file, mode: 0o644)
        }
        guard let name = ReleaseName(rawValue: name) else {
            throw TestFailure(description: "no name: \(name)")
        }
        return try Bundle.read(directory: directory, name: name)
    }

    /// Puts a release on the node as generation 1, as `sluice-agent adopt` does.
    @discardableResult
    func adopt(_ name: String, files: [String: String]) async throws -> ReleaseReference {
        let bundle = try bundle(name, files)
        let store = try ReleaseStore(configuration.releases)
        try await store.stage(
            manifest: bundle.manifest.encoded, as: bundle.manifest.reference,
            from: MemoryBlobs(bundle))
        _ = try await store.activate(
            bundle.manifest.reference, generation: try await store.nextGeneration())
        return bundle.manifest.reference
    }

    /// Runs an agent in this process for as long as the body takes.
    func withAgent<Value: Sendable>(_ body: @Sendable () async throws -> Value) async throws
        -> Value
    {
        var logger = Logger(label: "agent") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .critical
        let start = AgentStart(configuration: configuration, logger: logger)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await start.run() }
            let value = try await body()
            group.cancelAll()
            while let _ = await group.nextResult() {}
            return value
        }
    }

    /// Writes the journal that an earlier agent has left.
    func remember(_ records: [NodeJournalRecord]) throws {
        var opened = try AgentJournal.open(configuration.journal)
        try opened.journal.append(records, at: Instant(milliseconds: 1))
    }

    func has(_ flag: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(runtime)/\(flag)")
    }

    /// Bytes of a file that actions write to.
    func size(_ name: String) -> Int64 {
        var status = stat()
        return stat("\(root)/\(name)", &status) == 0 ? Int64(status.st_size) : 0
    }

    /// The lines of a file that actions write to.
    func lines(_ name: String = "marks") -> [String] {
        let text = (try? String(contentsOfFile: "\(root)/\(name)", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }
}

private struct MemoryBlobs: BlobSource {
    var blobs: [Digest: [UInt8]] = [:]

    init(_ bundle: Bundle) throws {
        for entry in bundle.manifest.entries {
            blobs[entry.digest] = Array(try Data(contentsOf: URL(filePath: bundle.file(of: entry))))
        }
    }

    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws {
        _ = (blobs[digest] ?? []).dropFirst(Int(offset)).withUnsafeBytes { sink.write($0) }
    }
}

func write(_ text: String, to file: String, mode: mode_t) throws {
    try Data(text.utf8).write(to: URL(filePath: file))
    try check(chmod(file, mode) == 0, "chmod \(file)")
}

/// Asks a node's agent, on a thread that may block: the agent answers on the pool.
func ask(_ request: LocalRequest, _ node: TestNode) async throws -> LocalReport {
    let path = node.configuration.localSocket
    return try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async {
            continuation.resume(with: Result { try LocalSocket.ask(request, at: path) })
        }
    }
}

/// Asks again until something is so.
func until(_ what: String, within seconds: Double = 20, _ condition: () async throws -> Bool)
    async throws
{
    let deadline = ContinuousClock.now + .milliseconds(Int(seconds * 1000))
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    throw TestFailure(description: "not within \(seconds) s: \(what)")
}

let holding = WriteAdmission.hold(
    HoldLimits(atMost: 10, duration: .seconds(15), retryAfter: .seconds(5)))

func directive(_ revision: Int64, epoch: Int64 = 1, _ change: (inout Directive) -> Void = { _ in })
    -> Directive
{
    var directive = Directive(epoch: Epoch(rawValue: epoch), revision: revision)
    change(&directive)
    return directive
}

func task(
    _ identity: String, _ name: String, _ kind: NodeTask.Kind = .action,
    release: ReleaseReference? = nil
) -> NodeTask {
    NodeTask(
        identity: TaskIdentity(rawValue: identity), kind: kind, name: name,
        timing: .beforeActivation,
        release: release)
}

func identity(_ text: String) -> TaskIdentity { TaskIdentity(rawValue: text) }

/// Whether a process is there and not merely waiting to be noticed.
func isRunning(_ process: pid_t) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else {
        return false
    }
    return !text.contains(") Z ")
}
