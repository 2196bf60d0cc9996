// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension Answer {
    /// The answer as HTTP, in the shape that the proxy's convention asks for.
    ///
    /// - Parameters:
    ///   - isReadOnly: what the application is told with a request that passes, by `X-Sluice-Mode`.
    ///   - isPriming: the proxy shall send a datagram ahead of the completion.
    func response(
        to request: AdmissionRequest, keepAlive: Bool, isReadOnly: Bool, isPriming: Bool = false
    ) -> [UInt8] {
        switch self {
        case .admit:
            var head = "HTTP/1.1 204 No Content\r\n\(keepAlive ? "" : "Connection: close\r\n")"
            head += "X-Sluice-Mode: \(isReadOnly ? "read-only" : "normal")\r\n"
            if isPriming { head += "X-Sluice-Prime: 1\r\n" }
            return Array((head + "\r\n").utf8)
        case .refuse(let refusal):
            return request.convention == .authRequest
                ? refusal.authRequestResponse(keepAlive: keepAlive, proof: nil)
                : refusal.response(in: request.form, keepAlive: keepAlive)
        }
    }
}

func jsonResponse(_ body: [UInt8], keepAlive: Bool) -> [UInt8] {
    var head = "HTTP/1.1 200 OK\r\n\(keepAlive ? "" : "Connection: close\r\n")"
    head += "Content-Length: \(body.count)\r\nContent-Type: application/json\r\n"
    head += "Cache-Control: no-store\r\n\r\n"
    return Array(head.utf8) + body
}

extension Admission.Counts {
    /// The gate is closed to writes and no admitted write is under way.
    var isDrained: Bool { !setting.writes.isOpen && writesInFlight == 0 }

    /// `/status`, for programs on this machine. `null` for writes in flight: not known.
    var json: [UInt8] {
        let inFlight = writesInFlight.map { "\($0)" } ?? "null"
        return Array(
            """
            {"writes":"\(setting.writes.kind.rawValue)","readsHeld":\(setting.readHold != nil),\
            "writesInFlight":\(inFlight),"streamsOpen":\(streamsOpen),\
            "writesWaiting":\(writesHeld),"readsWaiting":\(readsHeld)}

            """.utf8)
    }
}
