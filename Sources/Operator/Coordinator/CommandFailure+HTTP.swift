// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import CurlClient
internal import FoundationEssentials
internal import UpgradeModel

extension CommandFailure {
    /// A transfer that did not finish.
    init(_ failure: HTTPFailure, at url: String) {
        switch failure.code {
        case .refused:
            self.init(
                code: "unreachable", "nobody listens at \(url)",
                advice:
                    "is `sluice coordinator` running? Say where it is with --coordinator or SLUICE_COORDINATOR",
                isTransient: true)
        case .unresolved:
            self.init(
                code: "unreachable", "the host of \(url) has no address",
                advice: "check the name in --coordinator or SLUICE_COORDINATOR")
        case .tls where failure.curlName == "CURLE_SSL_CACERT_BADFILE":
            self.init(
                code: "authorities", failure.message,
                advice:
                    "give a file of certificates (PEM) that you may read with --ca-file or SLUICE_CA_FILE"
            )
        case .tls:
            self.init(
                code: "tls", "no trusted connection to \(url): \(failure.message)",
                advice:
                    "give the coordinator's authority with --ca-file, and call it by the name in its certificate; without TLS its address begins with http://"
            )
        case .interrupted where url.hasPrefix("http://"):
            self.init(
                code: "unreachable",
                "the coordinator at \(url) does not answer: \(failure.message)",
                advice:
                    "with TLS its address begins with https://; else look at its log; whatever a run does, it goes on without this command",
                isTransient: true)
        case .unreachable, .timedOut, .interrupted:
            self.init(
                code: "unreachable",
                "the coordinator at \(url) does not answer: \(failure.message)",
                advice: "look at its log; whatever a run does, it goes on without this command",
                isTransient: true)
        default:
            self.init(code: "transfer", failure.message)
        }
    }

    /// An answer that is a refusal or a failure.
    init(status: Int, body: [UInt8], at url: String) {
        let error = try? JSONDecoder().decode(APIError.self, from: Data(body))
        switch status {
        case 401, 403:
            self.init(
                code: error?.code ?? "unauthorized",
                error?.message ?? "the coordinator at \(url) does not accept this token",
                // The coordinator does not know how its client is given a token.
                advice:
                    "set SLUICE_TOKEN or --token-file to an operator's token; `sluice token create --operator NAME` on the coordinator's machine makes one"
            )
        case 404:
            guard let error else {
                // The answer to HEAD has no body, so it cannot say which coordinator has not got the blob.
                self.init(
                    code: body.isEmpty ? "not-found" : "protocol",
                    "what answers at \(url) is not a Sluice coordinator",
                    advice: "check the address in --coordinator or SLUICE_COORDINATOR")
                return
            }
            self.init(
                code: "not-found", error.message,
                advice: error.advice ?? "see `sluice status` for the runs there are")
        case 400, 409, 422:
            self.init(
                .refused, code: error?.code ?? "refused",
                error?.message ?? "the coordinator refused (\(status))",
                advice: error?.advice, diagnostics: error?.diagnostics ?? [])
        case 408, 429, 500...:
            self.init(
                code: error?.code ?? "unavailable",
                error?.message ?? "the coordinator at \(url) answered \(status)",
                advice: error?.advice ?? "try again in a moment; if it stays so, look at its log",
                isTransient: status != 507 && status != 500)
        default:
            self.init(
                code: error?.code ?? "protocol",
                error?.message ?? "the coordinator at \(url) answered \(status)",
                advice: error?.advice)
        }
    }

    /// An answer of another version, or of another program.
    init(notUnderstoodAt url: String) {
        self.init(
            code: "protocol",
            "the coordinator at \(url) answered what this program does not understand",
            advice:
                "use a `sluice` of the coordinator's version, and check that nothing else listens there"
        )
    }

    /// A stream of events without one.
    init(silentAt url: String) {
        self.init(
            code: "unreachable", "the coordinator at \(url) tells nothing of the run",
            advice: "look at its log", isTransient: true)
    }
}
