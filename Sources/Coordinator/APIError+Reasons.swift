// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
import FoundationEssentials
public import RunStore
public import UpgradeEngine
import UpgradeModel

extension APIError {
    /// What a refusal of the engine says to whoever asked.
    public init(_ refusal: Refusal) {
        var message = refusal.message
        if case .fleetHeld(_, _, _, let since) = refusal {
            let date = Date(timeIntervalSince1970: Double(since.milliseconds / 1000))
            message += " at \(date.formatted(.iso8601))"
        }
        self.init(Code(refusal), message: message, advice: refusal.advice)
    }

    /// What a failure of a store says to whoever asked.
    public init(_ failure: StoreFailure) {
        switch failure {
        case .notFound: self.init(.notFound, message: failure.text)
        case .rejected: self.init(.refused, message: failure.text)
        case .full: self.init(.full, message: failure.text)
        case .fleetHeld: self.init(.fleetHeld, message: failure.text)
        case .conflict, .superseded, .leaderHeld, .corrupt, .io:
            self.init(
                .unavailable, message: failure.text, advice: "see the coordinator's log")
        }
    }

    /// The coordinator has stopped; the next one is asked.
    static let ended = APIError(
        .unavailable, message: "this coordinator has stopped",
        advice: "ask again; its log says why it stopped")

    static let busy = APIError(
        .unavailable, message: "the coordinator has more waiting than it takes",
        advice: "ask again in a second")

    static func refused(_ message: String, _ advice: String? = nil) -> APIError {
        APIError(.refused, message: message, advice: advice)
    }
}

extension APIError.Code {
    init(_ refusal: Refusal) {
        switch refusal {
        case .noSuchRun: self = .notFound
        case .fleetHeld: self = .fleetHeld
        case .nodeHeld: self = .nodeHeld
        case .unknownNode: self = .unknownNode
        case .quarantinedLeftOut: self = .quarantinedLeftOut
        case .allQuarantined: self = .allQuarantined
        case .noNodes: self = .noNodes
        case .invalidPlan: self = .invalidPlan
        case .ended: self = .runEnded
        case .alreadyTurningBack: self = .alreadyTurningBack
        case .pastPointOfNoReturn: self = .pastPointOfNoReturn
        case .notPaused: self = .notPaused
        case .alreadyPaused: self = .alreadyPaused
        case .notRunning: self = .notRunning
        case .nothingToApprove: self = .nothingToApprove
        case .nothingToRetry: self = .nothingToRetry
        case .nothingToResolve: self = .nothingToResolve
        case .noSuchMigration: self = .noSuchMigration
        case .goingForward: self = .goingForward
        case .promoted: self = .promoted
        case .tooManyQuarantined: self = .tooManyQuarantined
        case .nodeIsHeard: self = .nodeIsHeard
        case .lastNode: self = .lastNode
        }
    }
}
