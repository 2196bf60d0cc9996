// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import FoundationEssentials

/// When the certificate ends that agents and operators are shown: after that nobody connects any more, and a node whose gate is closed
/// hears of no lift.
struct CertificateEnd: Sendable {
    var file: String
    /// Since 1970.
    var seconds: Int

    /// What a run and whoever watches it need at least.
    private static let leastForARun = 3600
    private static let saidBefore = 14 * 86400

    private var text: String {
        "the certificate in \(file) ends at \(Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601))"
    }

    private static let advice =
        "put a renewed one and its key in their places: they are shown from then on, without a restart"

    /// For `/healthz`; `nil` as long as there is time.
    func reason(now: Int) -> String? {
        guard seconds - now < Self.saidBefore else { return nil }
        return "\(text), and nobody connects after that; \(Self.advice)"
    }

    /// No run begins that may lose its agents in the write window.
    func check(now: Int) throws(APIError) {
        guard seconds - now < Self.leastForARun else { return }
        throw APIError(
            .refused,
            message:
                "\(text), which is too soon for a run: its agents would not connect after that",
            advice: Self.advice)
    }
}
