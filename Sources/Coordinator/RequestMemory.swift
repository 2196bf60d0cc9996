// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import UpgradeEngine
import UpgradeModel

/// What each identifier of a request was used for, and by whom.
///
/// An identifier makes a request that is sent twice count once. It belongs to whoever used it first and to what was asked then:
/// for anything else it is refused, also when the run that it started has long ended.
struct RequestMemory: Sendable {
    enum Use: Hashable, Sendable {
        case start(RunIdentifier, Digest)
        case request(RunIdentifier, RequestVerb, reason: String?)
    }

    private struct Entry {
        var by: OperatorName
        var use: Use
    }

    private var entries: [String: Entry] = [:]

    mutating func note(_ request: String, by name: OperatorName, _ use: Use) {
        if entries[request] == nil { entries[request] = Entry(by: name, use: use) }
    }

    mutating func note(_ event: RunEvent, of run: RunIdentifier) {
        switch event {
        case .created(let created):
            note(created.request, by: created.by, .start(run, created.digest))
        case .approved(let approved): note(approved.stamp, .approve, run)
        case .paused(let stamp): note(stamp, .pause, run)
        case .resumed(let stamp): note(stamp, .resume, run)
        case .aborted(let stamp): note(stamp, .abort, run)
        case .retried(let stamp): note(stamp, .retry, run)
        case .mended(let mended): note(mended.stamp, .retry, run)
        case .turnedForward(let turned): note(turned.stamp, .retry, run)
        case .claimed(let claimed): note(claimed.stamp, .resolve, run)
        case .nodeTakenOff(let taken): note(taken.stamp, .resolve, run)
        case .schemaAccepted(let stamp): note(stamp, .resolve, run)
        case .turnedBack(let turned):
            if let stamp = turned.stamp { note(stamp, .rollback, run) }
        default: break
        }
    }

    private mutating func note(_ stamp: RequestStamp, _ verb: RequestVerb, _ run: RunIdentifier) {
        note(stamp.request, by: stamp.by, .request(run, verb, reason: stamp.reason))
    }

    /// - Returns: the run that this very start has begun; `nil` when the identifier is new.
    func startedRun(
        _ request: String, by name: OperatorName, _ digest: Digest
    ) throws(APIError) -> RunIdentifier? {
        guard let entry = entries[request] else { return nil }
        guard entry.by == name else { throw .used(request, "by \(entry.by)") }
        switch entry.use {
        case .start(let run, digest): return run
        case .start(let run, _):
            throw .used(request, "to start run \(run) from another plan, manifest or migrations")
        case .request(let run, let verb, _):
            throw .used(request, "to \(verb.rawValue) run \(run)")
        }
    }

    /// - Returns: whether this very request has been taken in before.
    func knows(
        _ request: RunRequest, of run: RunIdentifier, by name: OperatorName
    ) throws(APIError) -> Bool {
        guard let entry = entries[request.request] else { return false }
        guard entry.by == name else { throw .used(request.request, "by \(entry.by)") }
        switch entry.use {
        case .request(run, request.verb, request.reason): return true
        case .request(run, request.verb, _):
            throw .used(
                request.request, "to \(request.verb.rawValue) run \(run) for another reason")
        case .request(let other, let verb, _):
            throw .used(request.request, "to \(verb.rawValue) run \(other)")
        case .start(let other, _): throw .used(request.request, "to start run \(other)")
        }
    }
}

extension APIError {
    static func used(_ request: String, _ what: String) -> APIError {
        APIError(
            .requestUsed, message: "the request identifier was used before, \(what)",
            advice: "send it with an identifier of its own; the commands make a new one each time")
    }
}
