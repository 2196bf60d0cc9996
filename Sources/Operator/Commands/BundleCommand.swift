// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import Releases
internal import UpgradeModel

struct BundleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bundle",
        abstract: "Show what a directory is as a bundle: its manifest, digests and totals.",
        discussion: """
            Changes nothing. The same files give the same manifest digest on every machine, and the digest is the release's \
            identity. Refused (exit code 3): links, devices, names that are not safe.

            EXAMPLES
              sluice bundle build/v2 --release v2
              sluice bundle build/v2 --json
            """)

    @Argument(help: "The directory of the built release.", completion: .directory)
    var directory: String

    @Option(
        help: ArgumentHelp(
            "The release's name. (default: the directory's own name)", valueName: "name"))
    var release: String?

    @Option(
        help: ArgumentHelp(
            "The directory in the bundle of files whose names change with their content, as release.assets in a plan. (default: the first of \(AssetsDirectory.usual.joined(separator: ", ")) that is there)",
            valueName: "path"))
    var assets: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        try await perform(.standard())
    }

    func perform(_ console: Console) async throws {
        try await conclude(json: json, console: console) { () throws(CommandFailure) in
            let name = try name()
            let assets = assets ?? AssetsDirectory.conventional(in: directory)
            let result = await console.during("reading \(directory)") { [directory] in
                await offPool { () -> Result<Bundle, Bundle.NotABundle> in
                    do throws(Bundle.NotABundle) {
                        return .success(
                            try Bundle.read(directory: directory, name: name, assets: assets))
                    } catch { return .failure(error) }
                }
            }
            switch result {
            case .success(let bundle): show(bundle, console)
            case .failure(let refusal):
                let errors = refusal.findings.count { $0.severity == .error }
                throw CommandFailure(
                    .refused, code: "bundle",
                    "\(directory) is no bundle: \(counted(errors, "error"))",
                    advice: "correct them; docs/bundle.md says what a bundle can have",
                    diagnostics: refusal.findings)
            }
            return .done
        }
    }

    private func name() throws(CommandFailure) -> ReleaseName {
        var path = directory
        while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
        let text =
            release
            ?? String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...])
        guard let name = ReleaseName(text) else {
            throw CommandFailure(
                code: "release-name", "\(text) is not the name of a release",
                advice: "give one of A-Z a-z 0-9 . _ - with --release")
        }
        return name
    }

    private func show(_ bundle: Bundle, _ console: Console) {
        let manifest = bundle.manifest
        let reference = manifest.reference
        if json { return console.line(jsonLine(Answer(bundle, reference))) }
        for warning in bundle.warnings { console.errorLine(printable(warning.description)) }
        for entry in manifest.entries {
            console.line(
                "\(entry.isExecutable ? "x" : "f") \(entry.digest) \(entry.size) \(printable(entry.path.text))"
            )
        }
        for link in manifest.links {
            console.line(
                "l \(link.target.utf8.count) \(printable(link.target)) \(printable(link.path.text))"
            )
        }
        let links = manifest.links.isEmpty ? "" : ", \(counted(manifest.links.count, "link"))"
        console.line("release  \(reference.name)")
        console.line("manifest \(reference.manifest)")
        console.line("assets   \(manifest.assets?.text ?? "none")")
        console.line(
            "total    \(counted(manifest.entries.count, "file"))\(links), \(bytes(manifest.totalSize))"
        )
    }

    struct Answer: Codable, Hashable, Sendable {
        struct File: Codable, Hashable, Sendable {
            var path: String
            var digest: Digest
            var size: Int64
            var executable: Bool
        }

        struct Link: Codable, Hashable, Sendable {
            var path: String
            var target: String
        }

        var type = "bundle"
        var release: ReleaseReference
        var assets: String?
        var totalSize: Int64
        var files: [File]
        var links: [Link]?

        init(_ bundle: Bundle, _ reference: ReleaseReference) {
            release = reference
            assets = bundle.manifest.assets?.text
            totalSize = bundle.manifest.totalSize
            files = bundle.manifest.entries.map {
                File(
                    path: $0.path.text, digest: $0.digest, size: $0.size,
                    executable: $0.isExecutable)
            }
            let found = bundle.manifest.links.map { Link(path: $0.path.text, target: $0.target) }
            links = found.isEmpty ? nil : found
        }
    }
}
