// SPDX-License-Identifier: Apache-2.0

import Foundation

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

        var description: String {
            let words = "\(holds ? "ok  " : "FAIL") \(text): \(measured) (\(target))"
            let lines = (holds ? [] : details ?? []).prefix(12)
            return ([words] + lines.map { "       \($0)" }).joined(separator: "\n")
        }
    }

    /// The claims that a build without optimization is held to: all but the agent's own weight.
    var fallen: [Claim] { claims.filter { !$0.holds && !$0.text.hasPrefix("agent:") } }
}

struct HarnessFailure: Error, CustomStringConvertible {
    var description: String
}

/// Runs `scripts/demo` with these options, without building.
func runFleet(_ options: String...) async throws -> FleetRun {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    let folder = URL.temporaryDirectory.appending(path: "sluice-e2e-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(at: folder) }
    let output = folder.appending(path: "stdout")
    let log = folder.appending(path: "stderr")
    for file in [output, log] { try Data().write(to: file) }

    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/python3")
    process.arguments =
        ["-s", "-E", "-B", root.appending(path: "Tests/Fixtures/fleet/demo.py").path]
        + ["--binaries", try binaries(root).path, "--json"] + options
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: log)
    try await withCheckedThrowingContinuation { (ended: CheckedContinuation<Void, any Error>) in
        process.terminationHandler = { _ in ended.resume() }
        do { try process.run() } catch { ended.resume(throwing: error) }
    }
    let data = try Data(contentsOf: output)
    guard let run = try? JSONDecoder().decode(FleetRun.self, from: data) else {
        let words = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
        throw HarnessFailure(
            description: "demo.py \(options.joined(separator: " ")) exited with "
                + "\(process.terminationStatus) and gave no result:\n\(words.suffix(4000))")
    }
    print("fleet \(options.joined(separator: " ")):")
    for claim in run.claims { print("  \(claim)") }
    if !run.fallen.isEmpty {
        print(((try? String(contentsOf: log, encoding: .utf8)) ?? "").suffix(6000))
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
