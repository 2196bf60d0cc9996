// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Glibc
import Releases
import UpgradeModel

/// What a bundle needs of this node, before anybody relies on it.
extension WorkPerformer {
    /// - Parameter directory: the release's files, where nobody else looks yet.
    /// - Throws: with everything that this node lacks, and what was found in its place.
    func checkNeeds(
        of release: ReleaseReference, in directory: String, _ run: RunIdentifier?
    ) async throws(ReleaseFailure) {
        var lacking: [String] = []
        for need in try ReleaseNeeds.read(in: directory) {
            if let lack = await lack(need, release, directory, run) { lacking.append(lack) }
            if Task.isCancelled { throw ReleaseFailure(.cancelled, "cancelled") }
        }
        guard !lacking.isEmpty else { return }
        throw ReleaseFailure(
            .unfinished,
            "this node lacks what \(release.name) needs: "
                + lacking.prefix(20).joined(separator: "; ")
                + (lacking.count > 20 ? "; and \(lacking.count - 20) more" : "")
                + ". Bring it onto the node, or build the bundle for what the nodes have")
    }

    /// - Returns: what is wrong; `nil` when the need is met.
    private func lack(
        _ need: ReleaseNeeds.Need, _ release: ReleaseReference, _ directory: String,
        _ run: RunIdentifier?
    ) async -> String? {
        switch need {
        case .path(let path):
            return access(path, F_OK) == 0 ? nil : "\(path) is not there"
        case .answer(let name, let expected):
            // A bundle is made elsewhere: it chooses among what the node lets it ask, and runs nothing else.
            guard let action = configuration.actions[name], action.answersNeeds else {
                let what =
                    configuration.actions[name] == nil
                    ? "is not among the actions"
                    : "may not be asked: it has no `answers_needs: true`"
                return "`\(name)` \(what) of \(configuration.file)"
            }
            let context = ActionRunner.Context(
                identity: TaskIdentity(rawValue: "needs/\(release.identifier)/\(name)"), run: run,
                release: release, releaseDirectory: directory)
            let outcome = await actions.run(action, context)
            let lines = outcome.output.split(separator: "\n").map { $0.drop { $0 == " " } }
            let answer = TaskOutcome.text(
                Array((lines.last { !$0.isEmpty } ?? "").utf8), limit: 200)
            guard outcome.state == .done else {
                return "\(name) \(outcome.state.rawValue): \(answer)"
            }
            return ReleaseNeeds.fits(answer, expected)
                ? nil : "\(name) says \(answer), and \(expected) is needed"
        }
    }
}
