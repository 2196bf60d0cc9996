// SPDX-License-Identifier: Apache-2.0

import Glibc
import UpgradeModel
import WriteGate

/// A process that has nothing but a gate, so that a test can kill it: `GateHolder <runtime directory>`.
///
/// Each line on standard input is a command: `open`, `hold`, `refuse`, `hold-reads`. It answers each on standard output with a
/// line, when it is in force, and says `ready` at first.
@main
enum GateHolder {
    static func main() {
        guard CommandLine.arguments.count == 2 else { exit(64) }
        do {
            let gate = try WriteGate(GateConfiguration(runtimeDirectory: CommandLine.arguments[1]))
            say("ready \(gate.observe().setting.writes.kind.rawValue)")
            let hold = HoldLimits(atMost: 2000, duration: .seconds(60), retryAfter: .seconds(7))
            while let line = readLine() {
                switch line {
                case "open": try gate.set(.open)
                case "hold": try gate.set(GateSetting(writes: .hold(hold)))
                case "refuse":
                    try gate.set(GateSetting(writes: .refuse(retryAfter: .seconds(7), message: "")))
                case "hold-reads": try gate.set(GateSetting(writes: .hold(hold), readHold: hold))
                case "observe": break
                default: exit(64)
                }
                let seen = gate.observe()
                say(
                    "\(line) \(seen.writesHeld) \(seen.readsHeld) \(seen.writesInFlight.map { "\($0)" } ?? "unknown")"
                )
            }
        } catch {
            say("\(error)")
            exit(1)
        }
    }

    private static func say(_ text: String) {
        print(text)
        fflush(nil)
    }
}
