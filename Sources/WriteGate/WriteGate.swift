// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import Synchronization
public import UpgradeModel

/// The admission of one node's requests: writes are admitted, held or refused, reads pass or are held.
///
/// A proxy asks it before it passes a request on, and reports the end of each write. It is a thread of its own that sleeps
/// until something happens. What it was set to survives the process: flag files tell the proxy, `mode.json` the next gate.
public final class WriteGate: Sendable {
    /// How many completions may wait to be read. With the kernel's default of 10 some are lost whenever many writes end at
    /// once, and each delays a drain: a preflight warns below 100. `nil` when the kernel does not say.
    public let completionQueue: Int?

    /// How many files this process may have open.
    public let openFiles: Int
    /// How many questions of the proxy may be open at once, held ones among them.
    public let connectionsAtMost: Int
    /// Open pages that may listen, with the limit of open files that it got.
    public let streamsAtMost: Int

    private let configuration: GateConfiguration
    private let files: GateFiles
    private let mailbox: Mailbox
    private let lock: Descriptor
    private let probes = ProbeBook()
    private let serverBook: ServerBook
    private let streams: ModeStreams?
    private let ended = DispatchSemaphore(value: 0)
    private let current: Mutex<Current>

    private struct Current {
        /// In force.
        var setting: GateSetting
        /// In `mode.json`; `nil` after an attempt to write it that failed.
        var stored: GateSetting?
        /// What pages are told beside the setting.
        var release: String?
        var begins: Instant?
        var isStarted = false
        var isStopped = false
    }

    /// Starts answering, in the state that `mode.json` in the runtime directory says: closed when an agent was killed while
    /// closed, open when there is none.
    ///
    /// - Parameter onChange: called on the gate's thread when the setting has changed, when the last write in flight of a
    ///   closed gate has ended, and at most every 100 ms while the number of held requests changes. It must return soon and
    ///   must not call ``set(_:)`` or ``stop()``.
    /// - Throws: when another process serves the directory, or a socket or flag cannot be made.
    public init(
        _ configuration: GateConfiguration,
        onChange: @escaping @Sendable (GateSnapshot) -> Void = { _ in }
    ) throws(GateError) {
        self.configuration = configuration
        files = GateFiles(directory: configuration.runtimeDirectory)
        try files.prepare()
        lock = try Sockets.lock(configuration.runtimeDirectory)
        serverBook = ServerBook(configuration.runtimeDirectory)
        openFiles = Sockets.allowOpenFiles(
            configuration.connectionsAtMost + configuration.streamsAtMost + 256)
        let configuration = configuration.within(openFiles: openFiles)
        connectionsAtMost = configuration.connectionsAtMost
        streamsAtMost = configuration.streamsAtMost
        let setting = files.storedSetting()
        // A crash may have come between the mode and the flags.
        try files.raise(setting.flags)
        let admission = Admission(setting, configuration: configuration)
        mailbox = try Mailbox(admission.counts)
        current = Mutex(Current(setting: setting, stored: setting))
        let mode = configuration.socketMode
        let group = configuration.socketGroup
        completionQueue = Sockets.datagramQueue(
            lengthenedTo: configuration.lengthensDatagramQueue ? 512 : nil)
        let completions = try Sockets.datagrams(
            at: configuration.completionSocket, mode: mode, group: group)
        var listeners = [
            GateLoop.Listener(
                descriptor: try Sockets.listen(
                    at: configuration.admissionSocket, mode: mode, group: group), door: .proxy)
        ]
        if let loopback = configuration.loopback {
            listeners.append(
                GateLoop.Listener(
                    descriptor: try Sockets.listen(on: loopback),
                    door: .loopback(token: configuration.loopbackToken)))
        }
        let loop = try GateLoop(
            configuration, admission: admission, mailbox: mailbox, listeners: listeners,
            completions: completions, probes: probes, servers: serverBook, onChange: onChange)
        streams =
            configuration.streamsAtMost == 0
            ? nil
            : try ModeStreams(configuration, saying: PageNews(setting: setting))
        let ended = ended
        do throws(GateError) {
            try startThread("the gate's thread") {
                loop.run()
                ended.signal()
            }
        } catch {
            streams?.stop()
            throw error
        }
        current.withLock { $0.isStarted = true }
        try? files.lower(Array(Set(GateFiles.Flag.admission).subtracting(setting.flags)))
    }

    deinit { stop() }

    /// Changes what the gate does; returns when the new setting decides about every request.
    ///
    /// Closing is durable first: flags and mode are on disk before the first request is held, and when they cannot be
    /// written nothing changes. Opening comes first, and the flags go after it, without waiting for the disk: after a power cut
    /// the files are at least as closed as the gate was. Held requests are answered in the order of their arrival, and it
    /// needs no new space. Setting the same again repairs the flags and does nothing else.
    ///
    /// Closing blocks for two `fsync`s: call it where blocking is allowed.
    ///
    /// - Throws: `flagNotWritten` (the gate is as it was), `flagNotRemoved` (the gate is as asked, the disk is stricter),
    ///   `stopped`.
    public func set(_ setting: GateSetting) throws(GateError) {
        let setting = setting.bounded
        try current.withLock { (current) throws(GateError) in
            guard !current.isStopped else { throw stopped }
            let strictest = setting.stricter(than: current.setting)
            // What is stored is never more open than what is in force.
            if strictest != current.setting, strictest != current.stored {
                current.stored = nil
                try files.raise(strictest.flags, storing: strictest)
                current.stored = strictest
            } else {
                // Also when nothing changes: somebody may have removed one. Not those that would be lowered next: to open has
                // to be possible on a full disk.
                try files.raise(setting.flags)
            }
            if setting != current.setting {
                let done = DispatchSemaphore(value: 0)
                guard mailbox.send(.set(setting, done: done)) else { throw stopped }
                done.wait()
                current.setting = setting
                tellPages(current)
            }
            try relax(&current)
        }
    }

    /// Tells the pages that listen what they are told beside the gate's setting.
    ///
    /// - Parameters:
    ///   - release: what the node serves, as the proxy says it in `X-Sluice-Release`.
    ///   - begins: when the gate is to close, if that is announced.
    public func tellPages(release: String?, begins: Instant? = nil) {
        current.withLock { current in
            current.release = release
            current.begins = begins
            tellPages(current)
        }
    }

    private func tellPages(_ current: Current) {
        streams?.say(
            PageNews(
                setting: current.setting, release: current.release, begins: current.begins))
    }

    /// Brings flags and mode down to the setting in force. Flags go first: with the mode still stricter, a gate that starts
    /// now is stricter, never more open.
    private func relax(_ current: inout Current) throws(GateError) {
        do {
            try files.lower(GateFiles.Flag.admission.filter { !current.setting.flags.contains($0) })
            if current.stored != current.setting {
                current.stored = nil
                try files.relax(to: current.setting)
                current.stored = current.setting
            }
        } catch {
            throw GateError(
                .flagNotRemoved, "the gate is as asked, but not on disk: \(error.message)",
                advice: error.advice)
        }
    }

    /// How many of those who have waited are let go in a second when the gate opens, at most; `nil`: as many as the application
    /// takes. Not kept: whoever restarts a gate says it again, and nobody waits then.
    public func setPace(_ perSecond: Int?) { _ = mailbox.send(.setPace(perSecond)) }

    /// Puts the node in or out of the load balancer: a flag that the proxy's health page obeys. Out is durable.
    public func setService(_ service: Service) throws(GateError) {
        switch service {
        case .in: try files.lower([.outOfService])
        case .out:
            let isNews = self.service == .in
            try files.raise([.outOfService])
            // What listens here goes where requests go.
            if isNews { streams?.endAll() }
        }
    }

    /// Whether the load balancer may send requests here, as the flag file says.
    public var service: Service { files.isRaised(.outOfService) ? .out : .in }

    /// A write with a nonce to send through the proxy. The gate remembers the last few that it has made.
    public func makeProbe() -> GateProbe { probes.make() }

    /// A header for a read of the agent's own, such as a health check, which is let through while others are held.
    public func makePass() -> (name: String, value: String) {
        ("X-Sluice-Probe", probes.make(isPass: true).nonce)
    }

    /// By what the proxy knows that a request has a session, as its own configuration says: `cookie:NAME` and `header:NAME`, with a
    /// space between two. `nil` as long as it has asked for nothing, and of snippets that do not say.
    public var sessionMarks: String? { serverBook.sessionMarks }

    /// Whether the proxy has asked about a probe.
    public func wasAsked(about probe: GateProbe) -> Bool { probes.wasAsked(about: probe) }

    /// How far the proxy has let a probe get; `nil`: it has not reported its end, or does not report any.
    public func passage(of probe: GateProbe) -> ProxyPassage? { probes.passage(of: probe) }

    /// The servers of the proxy through which writes have come as far as the gate or the application.
    public var servers: [ProxyServer] { serverBook.all }

    /// What the gate sees now. Cheap, from any thread.
    public func observe() -> GateSnapshot { mailbox.snapshot }

    /// Ends the gate's thread and removes its sockets; the flags stay, so a proxy goes on as it was told.
    ///
    /// Held requests lose their connection, and the proxy answers them by the flags.
    public func stop() {
        let isFirst = current.withLock { current in
            defer { current.isStopped = true }
            return current.isStarted && !current.isStopped
        }
        guard isFirst, mailbox.send(.stop) else { return }
        ended.wait()
        if let streams {
            streams.stop()
            unlink(configuration.streamSocket)
        }
        unlink(configuration.admissionSocket)
        unlink(configuration.completionSocket)
        flock(lock.number, LOCK_UN)
    }

    private var stopped: GateError {
        GateError(.stopped, "the gate has been stopped", advice: "start a new one")
    }
}

extension GateSetting {
    /// The flags that a proxy must find while this setting is in force.
    var flags: [GateFiles.Flag] {
        (writes.isOpen ? [] : [.readOnly]) + (readHold == nil ? [] : [.holdReads])
            + (sessionReadHold == nil ? [] : [.holdSessions])
    }

    /// What is durable while one setting takes the place of another: closed to whatever either of them is closed to.
    func stricter(than other: GateSetting) -> GateSetting {
        GateSetting(
            writes: writes.isOpen ? other.writes : writes, readHold: readHold ?? other.readHold,
            sessionReadHold: sessionReadHold ?? other.sessionReadHold)
    }
}

extension GateFiles.Flag {
    /// The flags that a setting raises.
    static let admission: [GateFiles.Flag] = [.readOnly, .holdReads, .holdSessions]
}
