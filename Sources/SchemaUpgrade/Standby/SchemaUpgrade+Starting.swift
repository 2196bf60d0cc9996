// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Waiting for a server that has crashed and is on its way.
extension SchemaUpgrade {
    /// Less than a promotion may take.
    private static let patienceWithStart = Span.seconds(90)

    /// Does something again for as long as a server says that it starts up: it replays its log, and answers when it has.
    ///
    /// - Parameter whose: the server's name for people: `the primary`.
    func onceStarted<Value>(
        _ whose: String, at address: String, _ body: () async throws -> Value
    ) async throws -> Value {
        let clock = ContinuousClock()
        let began = clock.now
        let deadline = deadline(SchemaUpgrade.patienceWithStart)
        let options = ConnectionOptions(address: address, applicationName: SchemaUpgrade.name)
        defer { starting = nil }
        while true {
            do {
                return try await body()
            } catch {
                guard clock.now < deadline, await PostgresConnection.isStarting(options) else {
                    throw error
                }
            }
            try checkCancellation()
            let seconds = began.duration(to: clock.now).components.seconds
            starting = "\(whose) starts up and takes no sessions yet (\(seconds) s)"
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}
