// SPDX-License-Identifier: Apache-2.0

import Foundation
import Subprocess

/// One run of the demo's harness against the binaries of this build: a fleet, clients, a fault, and what was found afterwards.
struct FleetRun: Decodable {
    var ok: Bool
    var claims: [Claim]

    /// A sentence about the run, what was measured for it, and whether it holds.
    struct Claim: Decodable, CustomStringConvertible {
        var text: String
        var measured: String
        var target: String
        var holds: Bool
        var details: [String]?
        /// How fast it was, which depends on the machine: printed with its target, and nobody is judged by it.
        var isSpeed: Bool?

        var description: String {
            let words =
                "\(holds ? "ok  " : isSpeed == true ? "slow" : "FAIL") \(text): \(measured) (\(target))"
            let lines = (holds ? [] : details ?? []).prefix(12)
            return ([words] + lines.map { "       \($0)" }).joined(separator: "\n")
        }

        private enum CodingKeys: String, CodingKey {
            case text, measured, target, holds, details
            case isSpeed = "is_speed"
        }
    }

    var fallen: [Claim] { claims.filter { !$0.holds && $0.isSpeed != true } }
}

struct HarnessFailure: Error, CustomStringConvertible {
    var description: String
}

/// Runs `scripts/demo` with these options, or the harness of another application, without building.
func runFleet(_ options: String..., harness: String = "demo.py") async throws -> FleetRun {
    try await runFleet(options, harness: harness)
}

func runFleet(_ options: [String], harness: String = "demo.py") async throws -> FleetRun {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    var platform = PlatformOptions()
    // A test that is given up takes its fleet apart, as Ctrl-C does.
    platform.teardownSequence = [
        .gracefulShutDown(allowedDurationToNextStep: .seconds(60))
    ]
    let arguments =
        ["-s", "-E", "-B", root.appending(path: "Tests/Fixtures/fleet/\(harness)").path]
        + ["--binaries", try binaries(root).path, "--json"]
        // A build without optimization is not held to what an agent weighs.
        + (harness == "demo.py" ? ["--unweighed"] : []) + options
    let ended = try await Subprocess.run(
        .name("python3"), arguments: Arguments(arguments),
        // Debian's own Python is the one that has Flask and psycopg2.
        environment: .inherit.updating(["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]),
        platformOptions: platform,
        output: .string(limit: 4 << 20), error: .string(limit: 4 << 20))
    let log = ended.standardError
    let json = Data(ended.standardOutput.utf8)
    guard let run = try? JSONDecoder().decode(FleetRun.self, from: json) else {
        throw HarnessFailure(
            description: "\(harness) \(options.joined(separator: " ")) ended with "
                + "\(ended.terminationStatus) and gave no result:\n\(log.suffix(4000))")
    }
    print("\(harness) \(options.joined(separator: " ")):")
    for claim in run.claims { print("  \(claim)") }
    if !run.fallen.isEmpty {
        print(log.suffix(6000))
    }
    return run
}

/// Where this build's `sluice` and `sluice-agent` are: beside the test program, or where SLUICE_BINARIES says.
private func binaries(_ root: URL) throws -> URL {
    if let given = ProcessInfo.processInfo.environment["SLUICE_BINARIES"] {
        return URL(filePath: given)
    }
    let beside = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent()
    let candidates = [beside, root.appending(path: ".build/debug")]
    for folder in candidates
    where FileManager.default.isExecutableFile(atPath: folder.appending(path: "sluice-agent").path)
    {
        return folder
    }
    throw HarnessFailure(description: "no sluice-agent beside the tests; run `swift build` first")
}
