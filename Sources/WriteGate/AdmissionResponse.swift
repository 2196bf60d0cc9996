// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension Answer {
    /// The answer as HTTP, in the shape that the proxy's convention asks for.
    ///
    /// - Parameter isPriming: the proxy shall send a datagram ahead of the completion.
    func response(
        _ convention: AdmissionRequest.Convention, keepAlive: Bool, isPriming: Bool = false
    ) -> [UInt8] {
        let connection = keepAlive ? "" : "Connection: close\r\n"
        guard case .refuse(let reason, let retryAfter, let message) = self else {
            let prime = isPriming ? "X-Sluice-Prime: 1\r\n" : ""
            return Array("HTTP/1.1 204 No Content\r\n\(connection)\(prime)\r\n".utf8)
        }
        let line = headerText(message)
        let body =
            convention == .forwardAuth
            ? (line.isEmpty ? "read-only for the moment\n" : line + "\n") : ""
        let status = convention == .forwardAuth ? "503 Service Unavailable" : "403 Forbidden"
        var head = "HTTP/1.1 \(status)\r\n\(connection)Content-Length: \(body.utf8.count)\r\n"
        if !body.isEmpty {
            head += "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
        }
        head += "Retry-After: \(max(1, (retryAfter.milliseconds + 999) / 1000))\r\n"
        head += "X-Sluice-Refused: \(reason.rawValue)\r\n"
        if !line.isEmpty { head += "X-Sluice-Message: \(line)\r\n" }
        return Array((head + "\r\n" + body).utf8)
    }
}

/// One line that is safe in a header: no control characters, 512 bytes at most.
private func headerText(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars
    where scalar.value >= 32 && !(127...159).contains(scalar.value) {
        guard result.utf8.count + UTF8.width(scalar) <= 512 else { break }
        result.unicodeScalars.append(scalar)
    }
    return result
}
